"""A certificate that is signed by its own key, kept in a folder.

It is kept so that who trusts its file goes on doing so: it is made anew when its end is near, or
when it lacks an address that is served now. Its key stays the same.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from app.sockets.certificates import CERTIFICATE, KEY

ALWAYS = ("localhost", "127.0.0.1", "::1")
LIFE = timedelta(days=825)  # some systems trust no certificate that is valid for longer
RENEWED_BEFORE = timedelta(days=30)
CLOCKS_DIFFER = timedelta(days=1)

_Name = str | IPv4Address | IPv6Address


def keep_certificate(folder: Path, hosts: Iterable[str], *, now_us: int) -> tuple[Path, Path]:
    """Return the paths of a certificate and its key: see `certificates.ensure_certificate`."""
    names = {name for host in (*ALWAYS, *hosts) for name in _names(host)}
    now = datetime.fromtimestamp(now_us / 1e6, UTC)
    folder.mkdir(parents=True, exist_ok=True)
    key = _kept_key(folder / KEY)
    path = folder / CERTIFICATE
    known = _read(path)
    if known is None or not _serves(known, key, names, now):
        if known is not None and known.public_key() == key.public_key():
            names |= _names_of(known)  # those of another program that shares it
        _replace(path, _signed(key, names, now))
    return path, folder / KEY


def _names(host: str) -> list[_Name]:
    """Return what a certificate says of a host that is listened on."""
    try:
        address = ip_address(host)
    except ValueError:
        return [host.lower()]
    if address.is_unspecified:
        return [socket.gethostname().lower()]
    return [address]


def _kept_key(path: Path) -> EllipticCurvePrivateKey:
    """Return the key of a file, which is made with one if there is none; raise `ValueError`."""
    if not path.exists():
        made = generate_private_key(SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        staged = _staged(path, made)
        try:
            os.link(staged, path)  # unlike a rename, it leaves a key that is there by now
        except FileExistsError:
            pass
        finally:
            staged.unlink()
    key = _read_key(path)
    if key is None:
        message = f"{path}: expected the key that was made here; without the file a new one is made"
        raise ValueError(message)
    return key


def _read_key(path: Path) -> EllipticCurvePrivateKey | None:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError):  # no key at all, an encrypted one
        return None
    return key if isinstance(key, EllipticCurvePrivateKey) else None


def _read(path: Path) -> x509.Certificate | None:
    """Return the certificate of a file; `None` when there is none, or none that can be read."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def _serves(
    known: x509.Certificate, key: EllipticCurvePrivateKey, names: set[_Name], now: datetime
) -> bool:
    """Tell whether a certificate is of this key, names these names and goes on for a while."""
    return (
        known.public_key() == key.public_key()
        and known.not_valid_before_utc <= now < known.not_valid_after_utc - RENEWED_BEFORE
        and names <= _names_of(known)
    )


def _names_of(known: x509.Certificate) -> set[_Name]:
    try:
        extension = known.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return set()
    found: set[_Name] = set(extension.value.get_values_for_type(x509.DNSName))
    for address in extension.value.get_values_for_type(x509.IPAddress):
        if isinstance(address, IPv4Address | IPv6Address):
            found.add(address)
    return found


def _signed(key: EllipticCurvePrivateKey, names: set[_Name], now: datetime) -> bytes:
    """Return a certificate that the key itself has signed: of a server, not of an authority."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Candlewire, self-signed")])
    told = [
        x509.DNSName(name) if isinstance(name, str) else x509.IPAddress(name)
        for name in sorted(names, key=str)
    ]
    public = key.public_key()
    usage = dict.fromkeys(
        (
            *("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
            *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
        ),
        False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCKS_DIFFER)
        .not_valid_after(now + LIFE - CLOCKS_DIFFER)
        .add_extension(x509.SubjectAlternativeName(told), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, **usage), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def _staged(path: Path, content: bytes) -> Path:
    """Write a file beside `path`, readable by its owner alone, and return where."""
    number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with os.fdopen(number, "wb") as file:
        file.write(content)
    return Path(name)


def _replace(path: Path, content: bytes) -> None:
    """Write a file that anybody may read in one step."""
    staged = _staged(path, content)
    staged.chmod(0o644)
    staged.replace(path)
