"""Our WebSocket protocol: subscriptions, replies, close codes."""
