"""A Binance that runs on loopback: a seeded market or a recorded capture, with a fault script."""
