"""Measurements, run by hand with `make bench SUITE=name`; none is a gate."""
