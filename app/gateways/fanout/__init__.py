"""One publication in, the same bytes out to everybody who wants it; nobody waits for anybody."""
