"""The live page for retention people."""
