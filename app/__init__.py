"""Candlewire: a market-data hub whose every candle says whether it is complete."""

__version__ = "0.1.0"
