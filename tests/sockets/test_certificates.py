"""Certificates of TLS listeners: clients trust them as they are, nobody is asked for a password."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives import serialization

from app.clock import SystemClock
from app.sockets.certificates import ensure_certificate, server_context

NOW_US = 1_795_225_200_000_000  # 2026-11-20


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_clients_trust_the_file_as_it_is(tmp_path, host):
    """A client that was given the certificate's file connects, names checked; another refuses."""
    certificate, key = ensure_certificate(tmp_path, [], now_us=SystemClock().now_us())
    greeted = asyncio.Event()

    def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        greeted.set()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=server_context(certificate, key))
    port = server.sockets[0].getsockname()[1]
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.load_verify_locations(certificate)
    trusting.verify_flags |= ssl.VERIFY_X509_STRICT
    async with server:
        _, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=trusting, server_hostname=host
        )
        async with asyncio.timeout(5):
            await greeted.wait()
        writer.close()
        strange = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection("127.0.0.1", port, ssl=strange, server_hostname=host)


def test_an_encrypted_key_is_refused_without_asking(tmp_path):
    """Nothing waits at a terminal for a password."""
    certificate, key = ensure_certificate(tmp_path, [], now_us=NOW_US)
    secret = serialization.load_pem_private_key(key.read_bytes(), password=None)
    key.write_bytes(
        secret.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(ssl.SSLError):
        server_context(certificate, key)


def test_nobody_else_waits_for_the_library():
    """What listens without TLS never imports what certificates are made with."""
    program = (
        "import sys, app.sockets.certificates, app.simulator.exchange;"
        "sys.exit('cryptography' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
