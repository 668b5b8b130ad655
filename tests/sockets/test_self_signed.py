"""Self-signed certificates: made once, kept, and made anew when they have to be."""

from __future__ import annotations

import socket
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509

from app.sockets.certificates import server_context
from app.sockets.self_signed import keep_certificate

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
    certificate, key = keep_certificate(folder, ["127.0.0.1"], now_us=NOW_US)
    before = certificate.read_bytes(), key.read_bytes()
    later = NOW_US + 700 * DAY_US
    assert keep_certificate(folder, ["127.0.0.1"], now_us=later) == (certificate, key)
    assert (certificate.read_bytes(), key.read_bytes()) == before
    assert {path.name for path in folder.iterdir()} == {certificate.name, key.name}
    assert names(certificate) == {"localhost", "127.0.0.1", "::1"}


def test_the_key_is_its_owner_s_alone(tmp_path):
    """Nobody else may read the private key; anybody may read the certificate, to trust it."""
    certificate, key = keep_certificate(tmp_path, [], now_us=NOW_US)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(certificate.stat().st_mode) == 0o644


def test_it_is_no_authority(tmp_path):
    """Who trusts it trusts one server, and nothing that its key might sign."""
    certificate, _ = keep_certificate(tmp_path, [], now_us=NOW_US)
    found = read(certificate).extensions
    assert not found.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not found.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


@pytest.mark.parametrize(
    ("after_days", "kept"), [(0, True), (793, True), (795, False), (5_000, False), (-2, False)]
)
def test_it_is_made_anew_before_its_end(tmp_path, after_days, kept):
    """Less than 30 days before its end a new one is made, of the same key."""
    certificate, key = keep_certificate(tmp_path, [], now_us=NOW_US)
    before, secret = read(certificate), key.read_bytes()
    now_us = NOW_US + after_days * DAY_US
    keep_certificate(tmp_path, [], now_us=now_us)
    after = read(certificate)
    assert (after == before) is kept
    assert key.read_bytes() == secret
    assert after.not_valid_before_utc.timestamp() * 1e6 <= now_us
    assert after.not_valid_after_utc.timestamp() * 1e6 >= now_us + 30 * DAY_US


def test_a_new_address_is_added(tmp_path):
    """A host that it lacks is added, and those that it named stay: two programs may share it."""
    certificate, _ = keep_certificate(tmp_path, ["192.0.2.7"], now_us=NOW_US)
    keep_certificate(tmp_path, ["Hub.Example", "::1"], now_us=NOW_US)
    named = names(certificate)
    assert named == {"localhost", "127.0.0.1", "::1", "192.0.2.7", "hub.example"}
    before = certificate.read_bytes()
    keep_certificate(tmp_path, ["192.0.2.7"], now_us=NOW_US)
    assert certificate.read_bytes() == before


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_every_address_is_the_machine_s_name(tmp_path, host):
    """No client asks for 0.0.0.0, so the machine's name stands for it."""
    certificate, _ = keep_certificate(tmp_path, [host], now_us=NOW_US)
    assert names(certificate) == {"localhost", "127.0.0.1", "::1", socket.gethostname().lower()}


def test_a_file_that_is_no_certificate_is_replaced(tmp_path):
    """A broken or foreign certificate is made anew; a broken key is refused."""
    certificate, key = keep_certificate(tmp_path, [], now_us=NOW_US)
    certificate.write_text("nothing")
    keep_certificate(tmp_path, [], now_us=NOW_US)
    server_context(certificate, key)
    other = tmp_path / "other"
    foreign, _ = keep_certificate(other, [], now_us=NOW_US)
    certificate.write_bytes(foreign.read_bytes())
    keep_certificate(tmp_path, [], now_us=NOW_US)
    server_context(certificate, key)
    key.write_text("nothing")
    with pytest.raises(ValueError, match="expected the key that was made here"):
        keep_certificate(tmp_path, [], now_us=NOW_US)


def test_many_may_ask_at_once(tmp_path):
    """Whoever comes first makes the key; the certificate of each belongs to it."""
    with ThreadPoolExecutor(8) as threads:
        asked = [
            threads.submit(keep_certificate, tmp_path, [f"h{number}"], now_us=NOW_US)
            for number in range(16)
        ]
        pairs = {one.result() for one in asked}
    assert len(pairs) == 1
    server_context(*pairs.pop())
    assert len(list(tmp_path.iterdir())) == 2
