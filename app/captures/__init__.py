"""The recording formats of market data: reading them line by line."""
