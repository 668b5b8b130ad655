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
    def folder(self) -> str:
        """The name as a folder: only letters, digits, '.' and '-' stay."""
        return "".join(each if each.isalnum() or each in ".-" else "_" for each in self.name)


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


def with_addresses(
    base: Source, *, rest_url: str | None, stream_url: str | None, symbols_url: str | None
) -> Source:
    """Return `base` with the addresses that the settings give instead of its own.

    A host that is not one of the exchange's own makes it `binance@HOST:PORT`. Where only one of the
    two addresses is given and its host belongs to a known market, the other is that market's.
    """
    if not (rest_url or stream_url or symbols_url):
        return base
    stream_market = _market(stream_url)
    rest_market = _market(rest_url or symbols_url)
    companion = KNOWN.get(stream_market or rest_market or "", base)
    chosen_stream = (
        _trimmed(stream_url, "BINANCE_STREAM_URL", ("ws", "wss")) or companion.stream_url
    )
    chosen_rest = _trimmed(rest_url, "BINANCE_REST_URL", ("http", "https"))
    if chosen_rest is None and symbols_url is not None and stream_market is None:
        chosen_rest = _origin(symbols_url)
    chosen_rest = chosen_rest or companion.rest_url
    name = _market(chosen_stream) or f"binance@{_host_and_port(chosen_stream)}"
    return Source(
        name,
        chosen_rest,
        chosen_stream,
        symbols_url=symbols_url,
        warning=_mixed(chosen_stream, chosen_rest, symbols_url),
    )


def _mixed(stream_url: str, rest_url: str, symbols_url: str | None) -> str | None:
    """Say in one line that the addresses belong to different markets, if they do."""
    of_stream = _market(stream_url) or urlsplit(stream_url).hostname
    for url in (rest_url, symbols_url):
        if url is not None and (_market(url) or urlsplit(url).hostname) != of_stream:
            return (
                f"streams come from {_host_and_port(stream_url)}, but calls go to "
                f"{_host_and_port(url)}: symbols and repairs may belong to another market"
            )
    return None


def _market(url: str | None) -> str | None:
    return None if url is None else _MARKET_OF_HOST.get(urlsplit(url).hostname or "")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _host_and_port(url: str) -> str:
    parts = urlsplit(url)
    default = {"ws": 80, "http": 80, "wss": 443, "https": 443}.get(parts.scheme, 443)
    return f"{parts.hostname}:{parts.port or default}"


def _trimmed(url: str | None, key: str, schemes: tuple[str, ...]) -> str | None:
    """Return the address without a trailing slash, and without the `/stream` that many paste."""
    if url is None:
        return None
    try:
        parts = urlsplit(url.strip())
        usable = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise InvalidSetting(key, url, f"an address such as {schemes[-1]}://host:port")
    trimmed = url.strip().rstrip("/")
    if "ws" in schemes:
        for ending in ("/stream", "/ws"):
            trimmed = trimmed.removesuffix(ending)
    return trimmed.rstrip("/")
