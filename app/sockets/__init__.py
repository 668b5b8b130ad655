"""Our WebSocket session and its listener: bytes only, no protocol above."""
