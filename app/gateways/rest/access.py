"""Who may call: which Host names and which web pages (Origin), decided from the headers alone.

A page in somebody's browser can send requests to this machine. It can neither forge `Origin`, nor
make `Host` name us when its own name was rebound to our address: that is what is checked here.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from app.gateways.origins import ANY, is_loopback, origin_allowed, parse_authority, plain_host


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
        own_names = {plain_host(self.bound_host), plain_host(self.machine_name)} - {""}
        return host in own_names or _is_address(host)

    def origin_allowed(self, header: str, host_header: str) -> bool:
        """Tell whether a page of the origin `header` may call, and read what is answered."""
        return origin_allowed(
            header,
            host_header,
            on_loopback=is_loopback(self.bound_host),
            allowed=self.allowed_origins,
        )

    def _listed(self, host: str) -> bool:
        for entry in self.allowed_hosts:
            if entry == ANY:
                return True
            listed = parse_authority(entry)
            if listed is not None and listed.host == host:
                return True
        return False


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
