"""A self-signed certificate for localhost, 127.0.0.1 and ::1, for tests only, and its key.

Made once, since the standard library cannot make one, with `openssl req -x509 -newkey ec
-pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500 -subj "/CN=candlewire test only"
-addext subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1`. Kept as base64 of the DER form, so that
nobody takes the key for one that slipped into the repository.
"""

from __future__ import annotations

import ssl
from pathlib import Path

TEST_ONLY_CERTIFICATE = (
    "MIIBwzCCAWqgAwIBAgIUD0bWpKCqVKQwYHdR/9KJ40XqJ90wCgYIKoZIzj0EAwIwHzEdMBsGA1UEAwwUY2FuZGxl"
    "d2lyZSB0ZXN0IG9ubHkwIBcNMjYxMTIxMDE0MzE5WhgPMjEyNjEwMjgwMTQzMTlaMB8xHTAbBgNVBAMMFGNhbmRs"
    "ZXdpcmUgdGVzdCBvbmx5MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEgHjyz+5rZy1bZIDEBJ7ZYLXW1ujqzcUL"
    "JzAz2wF2PE2EPGLtpa7/FIatu5LmsCezsKyzmZWxZiHj5Znx+4JiX6OBgTB/MB0GA1UdDgQWBBQOqba2rS/rtIZ5"
    "oFV9ndAQThHUAjAfBgNVHSMEGDAWgBQOqba2rS/rtIZ5oFV9ndAQThHUAjAsBgNVHREEJTAjgglsb2NhbGhvc3SH"
    "BH8AAAGHEAAAAAAAAAAAAAAAAAAAAAEwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNHADBEAiA6KR+ZV0JU"
    "hN5/UmON3N3yLkfYMHaAImlwyJd3GvMbTAIgAt39XW/ZqirVzMNPp65cuBQ4hNYuuRn2okCWTzvDa2I="
)
TEST_ONLY_KEY = (
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgG4QzLjMOhKA8k8zUer0Jt48tcH4kB17bbB5hVJM5"
    "mBGhRANCAASAePLP7mtnLVtkgMQEntlgtdbW6OrNxQsnMDPbAXY8TYQ8Yu2lrv8Uhq27kuawJ7OwrLOZlbFmIePl"
    "mfH7gmJf"
)


def server_context(folder: Path) -> ssl.SSLContext:
    """Return the context of a server that shows the certificate; `folder` takes it as a file."""
    pem = folder / "test-only-localhost.pem"
    pem.write_text(
        _armoured("CERTIFICATE", TEST_ONLY_CERTIFICATE) + _armoured("PRIVATE KEY", TEST_ONLY_KEY)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def trusting_context() -> ssl.SSLContext:
    """Return the context of a client that trusts this certificate and no other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=_armoured("CERTIFICATE", TEST_ONLY_CERTIFICATE))
    return context


def _armoured(kind: str, text: str) -> str:
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {kind}-----", *lines, f"-----END {kind}-----", ""])
