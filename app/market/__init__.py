"""The core: events, symbols, ledger, candles. Pure: no I/O, no loop, no clock, no logger."""
