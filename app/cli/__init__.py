"""The command line: `python -m app`, and `candlewire` where the package is installed."""
