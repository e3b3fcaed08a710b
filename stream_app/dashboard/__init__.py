"""The live page: bounded aggregates of what leaves the engine, on one self-contained HTML page for retention people."""
