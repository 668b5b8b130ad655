"""The clients that `benchmarks.ingest` compares, each a program of its own, and what serves them.

They run in different environments, so nothing here that they share may import more than the
standard library.
"""
