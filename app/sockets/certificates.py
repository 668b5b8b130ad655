"""The certificate of a TLS listener: one that is given, or a self-signed one made on first use."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Final

CERTIFICATE: Final = "certificate.pem"
KEY: Final = "key.pem"


def ensure_certificate(folder: Path, hosts: Iterable[str], *, now_us: int) -> tuple[Path, Path]:
    """Return the paths of a self-signed certificate and of its key in `folder`, made if need be.

    It is good for localhost, 127.0.0.1, ::1 and `hosts`, names or addresses; one that means every
    address of the machine (`0.0.0.0`) adds the machine's name instead. `now_us` is the time. The
    key's file is readable by its owner alone. Several processes may ask at once. Raises `OSError`
    where the folder or its files cannot be read or written, `ValueError` for a key that is none.
    """
    # Here, since it loads what takes a while, and only who has no certificate needs it.
    from app.sockets.self_signed import keep_certificate  # noqa: PLC0415

    return keep_certificate(folder, hosts, now_us=now_us)


def server_context(certificate: Path, key: Path | None = None) -> ssl.SSLContext:
    """Return what TLS needs of a server: a PEM file with a certificate, and its key there or apart.

    Raises `OSError` (`ssl.SSLError` is one) where they cannot be read, do not belong together, or
    the key is encrypted.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # Without a password of ours, OpenSSL would ask for one at the terminal, and wait.
    context.load_cert_chain(certificate, key, password="")
    return context
