"""The Binance spot protocol in both directions: payloads, decoding, encoding, limits."""
