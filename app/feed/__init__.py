"""The inbound shell: connections, one feed per symbol, the symbol manager, the governor."""
