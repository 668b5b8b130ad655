"""What clients see: the WebSocket protocol and the REST service."""
