"""The WebSocket port served by several processes of one machine, fed by the first."""
