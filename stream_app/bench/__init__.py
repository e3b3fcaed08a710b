"""Benchmarks: the worker beside other stream libraries, its latency, and what it costs as customers grow.

Nothing here is part of the product's data path. The peers run the very same engine in another library's model.
"""
