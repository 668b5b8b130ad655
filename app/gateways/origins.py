"""Where a web page comes from (Origin), which host a request names, and which pages may come in.

A browser names the page's origin and does not lie about it. Headers in, decisions out: pure.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import NamedTuple

ANY = "*"
"""Means every origin, or every host, where it stands in a list of them."""

_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[^\s\[\]:/@?#\\]+)(?::(\d{1,5}))?")
_ORIGIN = re.compile(r"([a-z][a-z0-9+.\-]*)://([^\s/?#\\]+)")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Authority(NamedTuple):
    """A host name or address in lower case, and a port if one was given."""

    host: str
    port: int | None


class Origin(NamedTuple):
    """Where a page came from; `port` is the scheme's own when none was given."""

    scheme: str
    host: str
    port: int | None


def origin_allowed(
    header: str,
    host_header: str,
    *,
    on_loopback: bool,
    allowed: Iterable[str],
    any_port: bool = False,
) -> bool:
    """Tell whether a page of the origin `header` may come in by the host that the request names.

    Allowed are: what `allowed` lists; a page of this machine, if the hub can be reached from there
    only (`on_loopback`); and a page from the host and port of `host_header`, or with `any_port`
    from that host. A page without an origin of its own says `null`, and is foreign.
    """
    if listed(header, allowed):
        return True
    origin = parse_origin(header)
    if origin is None or origin.scheme not in _DEFAULT_PORTS:
        return False
    if on_loopback and is_loopback(origin.host):
        return True
    target = parse_authority(host_header)
    if target is None or target.host != origin.host:
        return False
    return any_port or (target.port or _DEFAULT_PORTS[origin.scheme]) == origin.port


def listed(header: str, allowed: Iterable[str]) -> bool:
    """Tell whether `allowed` names the origin `header`; `*` names all but `null`."""
    origin = parse_origin(header)
    if origin is None:
        return False
    return any(entry == ANY or parse_origin(entry.rstrip("/")) == origin for entry in allowed)


def parse_authority(text: str) -> Authority | None:
    """Read `name`, `name:8000`, `127.0.0.1:8000` or `[::1]:8000`; `None` when it is neither."""
    found = _AUTHORITY.fullmatch(text.strip().lower())
    if found is None:
        return None
    return Authority(plain_host(found[1]), int(found[2]) if found[2] else None)


def parse_origin(text: str) -> Origin | None:
    """Read `https://name:8000`; `None` when it is no such origin, `null` among them."""
    found = _ORIGIN.fullmatch(text.strip().lower())
    authority = parse_authority(found[2]) if found else None
    if found is None or authority is None:
        return None
    return Origin(found[1], authority.host, authority.port or _DEFAULT_PORTS.get(found[1]))


def is_loopback(host: str) -> bool:
    """Tell whether a name or address without port means this machine alone."""
    name = plain_host(host)
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def plain_host(host: str) -> str:
    """Return a host in lower case, without brackets and final dot."""
    return host.lower().removeprefix("[").removesuffix("]").removesuffix(".")
