"""Where the market data comes from: the addresses of each source, and the name of its data."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from app.errors import InvalidSetting


@dataclass(frozen=True)
class Source:
    """One upstream. `name` is what every candle bears, and names the folder of what is kept."""

    name: str
    rest_url: str
    stream_url: str
    simulated: bool = False
    symbols_url: str | None = None  # another place to ask for the list of symbols
    warning: str | None = None

    @property
    def lists_elsewhere(self) -> bool:
        """Whether the list of symbols comes from another host than all other calls."""
        if self.symbols_url is None:
            return False
        return urlsplit(self.symbols_url).netloc != urlsplit(self.rest_url).netloc

    @property
    def hub_address(self) -> str | None:
        """The `HOST:PORT` of another hub that is the source; `None` where it is an exchange."""
        scheme, _, place = self.stream_url.partition("://")
        return place if scheme in HUB_SCHEMES else None

    @property
    def folder(self) -> str:
        """The name as a folder: only letters, digits, '.' and '-' stay."""
        return "".join(each if each.isalnum() or each in ".-" else "_" for each in self.name)


HUB_SCHEMES = ("grpc", "grpcs")
"""How addresses of other hubs begin: plain, and over TLS."""


def source_of_hub(text: str) -> Source:
    """Return another hub as a source, `grpc@HOST:PORT`; raise `InvalidSetting`.

    Its `stream_url` is its address, `rest_url` is empty.
    """
    key = "MARKET_SOURCE"
    expected = "the address of another hub, such as grpc://127.0.0.1:50051"
    try:
        parts = urlsplit(text.strip())
        host, port = parts.hostname or "", parts.port or 0
        usable = parts.scheme in HUB_SCHEMES and bool(port) and _is_host(host)
    except ValueError as error:  # a port that is no number, a name that cannot be looked up, …
        raise InvalidSetting(key, text, expected) from error
    if not usable or parts.username is not None or parts.path.strip("/") or parts.query:
        raise InvalidSetting(key, text, expected)
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return Source(f"grpc@{place}", "", f"{parts.scheme}://{place}")


BINANCE = Source("binance", "https://api.binance.com", "wss://stream.binance.com:9443")
TESTNET = Source(
    "testnet", "https://testnet.binance.vision", "wss://stream.testnet.binance.vision:9443"
)
BINANCE_US = Source("binance-us", "https://api.binance.us", "wss://stream.binance.us:9443")
KNOWN = {source.name: source for source in (BINANCE, TESTNET, BINANCE_US)}

# Other official hosts of the same markets (binance-spot-api-docs: web-socket-streams, rest-api).
_MARKET_OF_HOST = {
    "stream.binance.com": "binance",
    "data-stream.binance.vision": "binance",
    "api.binance.com": "binance",
    "api-gcp.binance.com": "binance",
    "api1.binance.com": "binance",
    "api2.binance.com": "binance",
    "api3.binance.com": "binance",
    "api4.binance.com": "binance",
    "data-api.binance.vision": "binance",
    "www.binance.com": "binance",
    "stream.testnet.binance.vision": "testnet",
    "testnet.binance.vision": "testnet",
    "api1.testnet.binance.vision": "testnet",
    "stream.binance.us": "binance-us",
    "api.binance.us": "binance-us",
}


_STREAM_SCHEMES = ("ws", "wss")
_REST_SCHEMES = ("http", "https")
_DEFAULT_PORTS = {"ws": 80, "http": 80, "wss": 443, "https": 443}
_PASTED_ENDINGS = ("/stream", "/ws", "/api/v3", "/api")


def with_addresses(
    base: Source, *, rest_url: str | None, stream_url: str | None, symbols_url: str | None
) -> Source:
    """Return `base` with the addresses that the settings give instead of its own.

    A host that is not one of the exchange's own makes it `binance@HOST:PORT`. Where only one of the
    two addresses is given and its host belongs to a known market, the other is that market's.
    Raises `InvalidSetting` for a text that is no such address.
    """
    chosen_stream = _address(stream_url, "BINANCE_STREAM_URL", _STREAM_SCHEMES)
    chosen_rest = _address(rest_url, "BINANCE_REST_URL", _REST_SCHEMES)
    chosen_list = _address(symbols_url, "BINANCE_LIST", _REST_SCHEMES, whole=True)
    if not (chosen_rest or chosen_stream or chosen_list):
        return base
    stream_market = _market(chosen_stream)
    if chosen_rest is None and chosen_list is not None and stream_market is None:
        chosen_rest = _origin(chosen_list)
    companion = KNOWN.get(stream_market or _market(chosen_rest) or "", base)
    chosen_stream = chosen_stream or companion.stream_url
    chosen_rest = chosen_rest or companion.rest_url
    return Source(
        _market(chosen_stream) or f"binance@{_host_and_port(chosen_stream)}",
        chosen_rest,
        chosen_stream,
        symbols_url=chosen_list,
        warning=_mixed(chosen_stream, chosen_rest, chosen_list),
    )


def _mixed(stream_url: str, rest_url: str, symbols_url: str | None) -> str | None:
    """Say in one line that the addresses belong to different markets, if they do."""
    for url in (rest_url, symbols_url):
        if url is not None and _market_or_host(url) != _market_or_host(stream_url):
            return (
                f"streams come from {_host_and_port(stream_url)}, but calls go to "
                f"{_host_and_port(url)}: symbols and repairs may belong to another market"
            )
    return None


def _market(url: str | None) -> str | None:
    return None if url is None else _MARKET_OF_HOST.get(urlsplit(url).hostname or "")


def _market_or_host(url: str) -> str | None:
    host = urlsplit(url).hostname
    return _market(url) or ("localhost" if host in ("127.0.0.1", "::1") else host)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _host_and_port(url: str) -> str:
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{host}:{parts.port or _DEFAULT_PORTS[parts.scheme]}"


def _address(
    text: str | None, key: str, schemes: tuple[str, ...], *, whole: bool = False
) -> str | None:
    """Return an address as it is used: checked, without a slash at its end.

    The paths that many paste with it (`/stream`, `/api/v3`) are cut, unless `whole` says that the
    path belongs to it. Names and passwords are refused, since addresses are shown to everybody.
    """
    if text is None or not text.strip():
        return None
    expected = f"an address such as {schemes[-1]}://host:port"
    try:
        parts = urlsplit(text.strip())
        usable = parts.scheme in schemes and _is_host(parts.hostname or "") and parts.port != 0
    except ValueError as error:  # a port that is no number, a name that cannot be looked up, …
        raise InvalidSetting(key, text, expected) from error
    if not usable or parts.username is not None or (parts.query and not whole):
        raise InvalidSetting(key, text, expected)
    if whole:
        return parts.geturl()
    path = parts.path.rstrip("/")
    for ending in _PASTED_ENDINGS:
        path = path.removesuffix(ending).rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path}"


def _is_host(host: str) -> bool:
    """Whether a name could be looked up; raise `ValueError` for some that could not."""
    return bool(":" in host or host.encode("idna")) and not any(map(str.isspace, host))
