"""The asynchronous client of the protocol: streams over WebSocket, calls over HTTP."""
