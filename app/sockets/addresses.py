"""Clients' addresses: reading them, through proxies too, and what a client is counted under."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

# Each connection asks several times, and reading an address is slow. Only addresses of sockets, and
# those that were found in a header, come here: short texts.
_REMEMBERED = 4_096


class TrustedProxies:
    """The proxies whose X-Forwarded-For is believed: addresses or networks like `10.0.0.0/8`.

    Raises `ValueError` for a text that is neither.
    """

    def __init__(self, networks: Iterable[str] = ()) -> None:
        self._networks = [ip_network(text, strict=False) for text in networks]

    def trust(self, ip: str) -> bool:
        """Tell whether `ip` is one of them."""
        address = _address(ip) if self._networks else None
        return address is not None and any(address in network for network in self._networks)

    def client(self, peer: str, forwarded: str | None) -> str:
        """Return the client's address: the rightmost one that no trusted proxy of ours has.

        `forwarded` is the X-Forwarded-For, where each proxy adds at the right whom it serves; all
        left of the first stranger may be made up, and is not looked at.
        """
        nearest = peer
        if forwarded is None:
            return nearest
        for entry in reversed(forwarded.split(",")):
            address = _address(entry)
            if address is None or not self.trust(nearest):
                return nearest
            nearest = str(address)
        return nearest


@lru_cache(maxsize=_REMEMBERED)
def counting_key(ip: str) -> str:
    """Return what a client is counted under: its address, or the /64 where it is IPv6.

    A household or a server has a whole /64 to itself, so single addresses would limit nobody.
    """
    address = _address(ip)
    if isinstance(address, IPv6Address):
        return str(IPv6Network((int(address) >> 64 << 64, 64)))
    return ip if address is None else str(address)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """Read an address as proxies write them, `[::1]:80` and `::ffff:1.2.3.4` too."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


@lru_cache(maxsize=_REMEMBERED)
def plain_ip(text: str) -> str:
    """Return a socket's peer address in its shortest form, IPv4 within IPv6 as IPv4."""
    address = _address(text)
    return text if address is None else str(address)
