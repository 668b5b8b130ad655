"""Certificates of TLS listeners: made on first use, kept, and trusted by clients as they are."""

from __future__ import annotations

import asyncio
import socket
import ssl
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from app.clock import SystemClock
from app.sockets.certificates import ensure_certificate, server_context

NOW_US = 1_795_225_200_000_000  # 2026-11-20
DAY_US = 86_400_000_000


def read(path: Path) -> x509.Certificate:
    """Return the certificate of a file."""
    return x509.load_pem_x509_certificate(path.read_bytes())


def names(path: Path) -> set[str]:
    """Return whom a certificate names."""
    told = read(path).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in told}


def test_a_certificate_is_made_once_and_kept(tmp_path):
    """The first call makes both files, later ones return the same."""
    folder = tmp_path / "deep" / "tls"
    certificate, key = ensure_certificate(folder, ["127.0.0.1"], now_us=NOW_US)
    before = certificate.read_bytes(), key.read_bytes()
    later = NOW_US + 700 * DAY_US
    assert ensure_certificate(folder, ["127.0.0.1"], now_us=later) == (certificate, key)
    assert (certificate.read_bytes(), key.read_bytes()) == before
    assert {path.name for path in folder.iterdir()} == {certificate.name, key.name}
    assert names(certificate) == {"localhost", "127.0.0.1", "::1"}


def test_the_key_is_its_owner_s_alone(tmp_path):
    """Nobody else may read the private key; anybody may read the certificate, to trust it."""
    certificate, key = ensure_certificate(tmp_path, [], now_us=NOW_US)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(certificate.stat().st_mode) == 0o644


def test_it_is_no_authority(tmp_path):
    """Who trusts it trusts one server, and nothing that its key might sign."""
    certificate, _ = ensure_certificate(tmp_path, [], now_us=NOW_US)
    found = read(certificate).extensions
    assert not found.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not found.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


@pytest.mark.parametrize(
    ("after_days", "kept"), [(0, True), (793, True), (795, False), (5_000, False), (-2, False)]
)
def test_it_is_made_anew_before_its_end(tmp_path, after_days, kept):
    """Less than 30 days before its end a new one is made, of the same key."""
    certificate, key = ensure_certificate(tmp_path, [], now_us=NOW_US)
    before, secret = read(certificate), key.read_bytes()
    now_us = NOW_US + after_days * DAY_US
    ensure_certificate(tmp_path, [], now_us=now_us)
    after = read(certificate)
    assert (after == before) is kept
    assert key.read_bytes() == secret
    assert after.not_valid_before_utc.timestamp() * 1e6 <= now_us
    assert after.not_valid_after_utc.timestamp() * 1e6 >= now_us + 30 * DAY_US


def test_a_new_address_is_added(tmp_path):
    """A host that it lacks is added, and those that it named stay: two programs may share it."""
    certificate, _ = ensure_certificate(tmp_path, ["192.0.2.7"], now_us=NOW_US)
    ensure_certificate(tmp_path, ["Hub.Example", "::1"], now_us=NOW_US)
    named = names(certificate)
    assert named == {"localhost", "127.0.0.1", "::1", "192.0.2.7", "hub.example"}
    before = certificate.read_bytes()
    ensure_certificate(tmp_path, ["192.0.2.7"], now_us=NOW_US)
    assert certificate.read_bytes() == before


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_every_address_is_the_machine_s_name(tmp_path, host):
    """No client asks for 0.0.0.0, so the machine's name stands for it."""
    certificate, _ = ensure_certificate(tmp_path, [host], now_us=NOW_US)
    assert names(certificate) == {"localhost", "127.0.0.1", "::1", socket.gethostname().lower()}


def test_a_file_that_is_no_certificate_is_replaced(tmp_path):
    """A broken or foreign certificate is made anew; a broken key is refused."""
    certificate, key = ensure_certificate(tmp_path, [], now_us=NOW_US)
    certificate.write_text("nothing")
    ensure_certificate(tmp_path, [], now_us=NOW_US)
    server_context(certificate, key)
    other = tmp_path / "other"
    foreign, _ = ensure_certificate(other, [], now_us=NOW_US)
    certificate.write_bytes(foreign.read_bytes())
    ensure_certificate(tmp_path, [], now_us=NOW_US)
    server_context(certificate, key)
    key.write_text("nothing")
    with pytest.raises(ValueError, match="expected the key that was made here"):
        ensure_certificate(tmp_path, [], now_us=NOW_US)


def test_many_may_ask_at_once(tmp_path):
    """Whoever comes first makes the key; the certificate of each belongs to it."""
    with ThreadPoolExecutor(8) as threads:
        asked = [
            threads.submit(ensure_certificate, tmp_path, [f"h{number}"], now_us=NOW_US)
            for number in range(16)
        ]
        pairs = {one.result() for one in asked}
    assert len(pairs) == 1
    server_context(*pairs.pop())
    assert len(list(tmp_path.iterdir())) == 2


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
