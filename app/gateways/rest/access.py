"""Who may call: which Host names and which web pages (Origin), decided from the headers alone.

A page in somebody's browser can send requests to this machine. It can neither forge `Origin`, nor
make `Host` name us when its own name was rebound to our address: that is what is checked here.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import NamedTuple

ANY = "*"

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


@dataclass(frozen=True)
class AccessRules:
    """The rules for one bound address. The names in it are those of `RestConfig`."""

    bound_host: str
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    machine_name: str = ""

    def host_allowed(self, header: str) -> bool:
        """Tell whether a `Host` header names us.

        Loopback names always do. Bound to loopback, nothing else does unless `allowed_hosts` says
        so. Bound wider, so do the bound address, the machine's name and any IP address, since an
        address cannot be rebound.
        """
        authority = parse_authority(header)
        if authority is None:
            return False
        host = authority.host
        if is_loopback(host) or self._listed(host):
            return True
        if is_loopback(self.bound_host):
            return False
        own_names = {_plain(self.bound_host), _plain(self.machine_name)} - {""}
        return host in own_names or _is_address(host)

    def origin_allowed(self, header: str, host_header: str) -> bool:
        """Tell whether a page of the origin `header` may make changing calls to `host_header`."""
        origin = parse_origin(header)
        if origin is None:
            return False
        if self.listed_origin(header):
            return True
        if is_loopback(self.bound_host) and is_loopback(origin.host):
            return True
        target = parse_authority(host_header)
        if target is None:
            return False
        port = target.port or _DEFAULT_PORTS.get(origin.scheme)
        return (target.host, port) == (origin.host, origin.port)

    def listed_origin(self, header: str) -> bool:
        """Tell whether `allowed_origins` names this origin. `null` is no origin."""
        origin = parse_origin(header)
        if origin is None:
            return False
        return any(
            entry == ANY or parse_origin(entry.rstrip("/")) == origin
            for entry in self.allowed_origins
        )

    def _listed(self, host: str) -> bool:
        for entry in self.allowed_hosts:
            if entry == ANY:
                return True
            listed = parse_authority(entry)
            if listed is not None and listed.host == host:
                return True
        return False


def parse_authority(text: str) -> Authority | None:
    """Read `name`, `name:8000`, `127.0.0.1:8000` or `[::1]:8000`; `None` when it is neither."""
    found = _AUTHORITY.fullmatch(text.strip().lower())
    if found is None:
        return None
    return Authority(_plain(found[1]), int(found[2]) if found[2] else None)


def parse_origin(text: str) -> Origin | None:
    """Read `https://name:8000`; `None` when it is no such origin, `null` among them."""
    found = _ORIGIN.fullmatch(text.strip().lower())
    authority = parse_authority(found[2]) if found else None
    if found is None or authority is None:
        return None
    return Origin(found[1], authority.host, authority.port or _DEFAULT_PORTS.get(found[1]))


def is_loopback(host: str) -> bool:
    """Tell whether a name or address without port means this machine alone."""
    name = _plain(host)
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _plain(host: str) -> str:
    """Lower case, no brackets, no final dot."""
    return host.lower().removeprefix("[").removesuffix("]").removesuffix(".")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
