"""Which web pages may connect: a browser names the page's origin and does not lie. Pure."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit


def origin_allowed(
    origin: str | None, host: str | None, *, on_loopback: bool, allowed: Collection[str]
) -> bool:
    """Whether a page of `origin` may connect.

    Allowed are: no origin, so no browser; a page from the host that the request itself names in
    `host`, whatever the ports, since the hub's pages come from its REST port; a page of this
    machine if the hub listens there only (`on_loopback`); and what `allowed` lists. A page without
    an origin of its own says `null`, and is foreign.
    """
    if origin is None:
        return True
    if origin.lower().rstrip("/") in {one.lower().rstrip("/") for one in allowed}:
        return True
    name = _hostname(origin)
    if name is None:
        return False
    if host is not None and name == _hostname(f"http://{host}"):
        return True
    return on_loopback and is_loopback(name)


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _hostname(origin: str) -> str | None:
    """Return the host of an `http(s)://host[:port]` in lower case; `None` for anything else."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or parts.username is not None:
        return None
    return parts.hostname
