"""Tests of app.feed.source."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidSetting
from app.feed.source import (
    BINANCE,
    BINANCE_US,
    KNOWN,
    TESTNET,
    Source,
    source_of_hub,
    with_addresses,
)


def sourced(
    stream: str | None = None,
    rest: str | None = None,
    symbols: str | None = None,
    base: Source = BINANCE,
) -> Source:
    """Return the source that these settings make."""
    return with_addresses(base, rest_url=rest, stream_url=stream, symbols_url=symbols)


@pytest.mark.parametrize("base", KNOWN.values(), ids=KNOWN)
def test_without_addresses_a_source_is_as_it_is_known(base: Source) -> None:
    """Nothing set, or set to nothing, changes nothing."""
    assert sourced(base=base) is base
    assert sourced("", " ", "", base=base) is base
    assert (base.warning, base.symbols_url, base.simulated) == (None, None, False)


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("wss://stream.binance.com:9443", "wss://stream.binance.com:9443"),
        ("wss://stream.binance.com:9443/", "wss://stream.binance.com:9443"),
        ("wss://stream.binance.com:9443/stream", "wss://stream.binance.com:9443"),
        ("wss://stream.binance.com:9443/stream/", "wss://stream.binance.com:9443"),
        ("wss://stream.binance.com:9443/ws", "wss://stream.binance.com:9443"),
        ("WSS://Stream.Binance.Com:9443/ws/", "wss://Stream.Binance.Com:9443"),
        ("  wss://stream.binance.com  ", "wss://stream.binance.com"),
        ("wss://data-stream.binance.vision", "wss://data-stream.binance.vision"),
        ("ws://stream", "ws://stream"),
        ("ws://ws:9443/stream", "ws://ws:9443"),
        ("ws://hub.example/mirror/stream", "ws://hub.example/mirror"),
    ],
)
def test_what_is_often_pasted_with_a_stream_address_is_cut(given: str, used: str) -> None:
    """Trailing slashes, `/stream` and `/ws` go, wherever the host is called `stream` or `ws`."""
    assert sourced(given).stream_url == used


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("http://127.0.0.1:9080", "http://127.0.0.1:9080"),
        ("http://127.0.0.1:9080/", "http://127.0.0.1:9080"),
        ("https://api.binance.com/api/v3/", "https://api.binance.com"),
        ("https://api4.binance.com/api", "https://api4.binance.com"),
    ],
)
def test_what_is_often_pasted_with_a_rest_address_is_cut(given: str, used: str) -> None:
    """The path of the API belongs to the calls, not to the address."""
    assert sourced(rest=given).rest_url == used


@pytest.mark.parametrize(
    ("stream", "rest", "name", "other"),
    [
        ("wss://stream.binance.com:443", None, "binance", "https://api.binance.com"),
        (TESTNET.stream_url, None, "testnet", TESTNET.rest_url),
        (BINANCE_US.stream_url, None, "binance-us", BINANCE_US.rest_url),
        (None, "https://api1.binance.com", "binance", BINANCE.stream_url),
        (None, TESTNET.rest_url, "testnet", TESTNET.stream_url),
        (None, BINANCE_US.rest_url, "binance-us", BINANCE_US.stream_url),
    ],
)
def test_one_known_address_brings_the_other(
    stream: str | None, rest: str | None, name: str, other: str
) -> None:
    """Where one address belongs to a known market, so does the one that was not given."""
    source = sourced(stream, rest)
    assert source.name == name
    assert other == (source.rest_url if rest is None else source.stream_url)
    assert source.warning is None


@pytest.mark.parametrize(
    ("stream", "name", "folder"),
    [
        ("ws://127.0.0.1:9443", "binance@127.0.0.1:9443", "binance_127.0.0.1_9443"),
        ("ws://hub.example", "binance@hub.example:80", "binance_hub.example_80"),
        ("wss://hub-2.example", "binance@hub-2.example:443", "binance_hub-2.example_443"),
        ("ws://[::1]:9443", "binance@[::1]:9443", "binance____1__9443"),
    ],
)
def test_any_other_host_is_named_with_its_port(stream: str, name: str, folder: str) -> None:
    """A foreign host becomes `binance@HOST:PORT`, and a folder of its own."""
    source = sourced(stream, "http://127.0.0.1:9080")
    assert (source.name, source.folder) == (name, folder)


@pytest.mark.parametrize(
    ("symbols_url", "elsewhere"),
    [
        (None, False),
        ("https://api.binance.com/api/v3/exchangeInfo?permissions=SPOT", False),
        ("https://www.binance.com/api/v3/exchangeInfo", True),
    ],
)
def test_a_list_elsewhere_is_one_from_another_host(symbols_url: str | None, elsewhere: bool):
    """The path does not matter: the host decides who may refuse."""
    source = replace(BINANCE, symbols_url=symbols_url)
    assert source.lists_elsewhere is elsewhere


def test_both_at_one_machine_are_no_mix() -> None:
    """Two ports of one host belong together, loopback by name or by number."""
    for rest in ("http://127.0.0.1:9080", "http://localhost:9080", "http://[::1]:9080"):
        source = sourced("ws://127.0.0.1:9443/stream", rest)
        assert source.warning is None
        assert source.rest_url == rest


@pytest.mark.parametrize(
    ("stream", "rest", "symbols"),
    [
        ("ws://127.0.0.1:9443", None, None),
        ("ws://127.0.0.1:9443", "https://api.binance.com", None),
        (TESTNET.stream_url, BINANCE.rest_url, None),
        (TESTNET.stream_url, None, "https://api.binance.com/api/v3/exchangeInfo"),
        (None, "http://127.0.0.1:9080", None),
        (None, None, "http://127.0.0.1:9080/api/v3/exchangeInfo"),
        (BINANCE.stream_url, BINANCE.rest_url, "https://fapi.example/fapi/v1/exchangeInfo"),
    ],
)
def test_addresses_of_different_markets_give_one_warning(
    stream: str | None, rest: str | None, symbols: str | None
) -> None:
    """A mixture works, and one line says so."""
    source = sourced(stream, rest, symbols)
    assert source.warning is not None
    assert "\n" not in source.warning


def test_the_settings_of_the_original_platform() -> None:
    """`BINANCE_LIST` and a stream URL, as they were, make a whole source."""
    official = sourced(
        "wss://stream.binance.com:9443/stream",
        symbols="https://api.binance.com/api/v3/exchangeInfo?permissions=SPOT",
    )
    assert official.name == "binance"
    assert official.rest_url == BINANCE.rest_url
    assert official.symbols_url == "https://api.binance.com/api/v3/exchangeInfo?permissions=SPOT"
    assert official.warning is None

    own = sourced("ws://10.0.0.5:9443/stream", symbols="http://10.0.0.5:9080/api/v3/exchangeInfo")
    assert (own.name, own.rest_url) == ("binance@10.0.0.5:9443", "http://10.0.0.5:9080")
    assert own.warning is None


def test_only_a_list_of_a_known_market_brings_that_market() -> None:
    """`BINANCE_LIST` alone says which market is meant."""
    source = sourced(symbols="https://testnet.binance.vision/api/v3/exchangeInfo")
    assert (source.name, source.stream_url) == ("testnet", TESTNET.stream_url)


BAD = [
    "stream.binance.com",
    "https://stream.binance.com",
    "ws://",
    "ws://:9443",
    "ws://host:port",
    "ws://host:99999",
    "ws://host:0",
    "ws://[::1",
    "ws://two words",
    "ws://a..b",
    "ws://" + "a" * 64,
    "ws://user:secret@host",
    "wss://stream.binance.com/stream?streams=btcusdt@trade",
    "://",
]


@pytest.mark.parametrize("url", BAD)
def test_a_stream_address_that_cannot_work_is_named(url: str) -> None:
    """What is no address stops the start-up with the key and an example."""
    with pytest.raises(InvalidSetting) as caught:
        sourced(url)
    assert caught.value.key == "BINANCE_STREAM_URL"
    assert "wss://host:port" in caught.value.expected


@pytest.mark.parametrize("url", [each.replace("ws", "http") for each in BAD if "wss" not in each])
def test_other_addresses_are_checked_too(url: str) -> None:
    """So are those of the calls, and of the list."""
    url = url.replace("https://stream", "ftp://stream")
    with pytest.raises(InvalidSetting) as caught:
        sourced(rest=url)
    assert caught.value.key == "BINANCE_REST_URL"
    with pytest.raises(InvalidSetting) as caught:
        sourced(symbols=url)
    assert caught.value.key == "BINANCE_LIST"


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_a_named_error(text: str) -> None:
    """No text of a setting makes anything but a source or an `InvalidSetting`."""
    for prefix in ("", "ws://", "ws://host:", "ws://host/"):
        try:
            source = sourced(prefix + text, symbols="http://host/" + text)
        except InvalidSetting:
            continue
        assert source.stream_url.startswith(("ws://", "wss://"))
        assert set(source.folder) <= set(filter(str.isalnum, source.folder)) | set(".-_")


@pytest.mark.parametrize(
    ("text", "url", "address"),
    [
        ("grpc://127.0.0.1:50051", "grpc://127.0.0.1:50051", "127.0.0.1:50051"),
        ("grpcs://hub.example:443/", "grpcs://hub.example:443", "hub.example:443"),
        ("grpc://[::1]:50051", "grpc://[::1]:50051", "[::1]:50051"),
    ],
)
def test_another_hub_is_named_by_its_address(text: str, url: str, address: str):
    """Data that came from there bear its name; an exchange has no such address."""
    source = source_of_hub(text)
    assert source.name == f"grpc@{address}"
    assert (source.stream_url, source.hub_address) == (url, address)
    assert BINANCE.hub_address is None


@pytest.mark.parametrize(
    "text",
    ["grpc://", "grpc://host", "grpc://host:0", "grpc://host:x", "grpc://u@host:1", "grpc://h:1/p"],
)
def test_what_is_no_address_of_a_hub_is_named(text: str):
    """The setting is named, with an example."""
    with pytest.raises(InvalidSetting, match="such as grpc://") as raised:
        source_of_hub(text)
    assert raised.value.key == "MARKET_SOURCE"
