"""The serving side of the protocol, without I/O: request text in, replies and frames out."""
