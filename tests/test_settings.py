"""Tests of app.settings."""

from __future__ import annotations

import os
import re
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from app.errors import InvalidSetting
from app.settings import Settings, color_wanted, read_settings, unknown_keys
from scripts.settings_example import as_yaml

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / ".env.example"
YAML_EXAMPLE = ROOT / "config" / "settings.yaml.example"
DEFAULTS = {
    name: field.get_default(call_default_factory=True)
    for name, field in Settings.model_fields.items()
}


@pytest.fixture(autouse=True)
def _nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start in an empty folder, with none of our settings in the environment."""
    monkeypatch.chdir(tmp_path)
    ours = {name.upper() for name in Settings.model_fields} | {"BINANCE_TESTNET", "NO_COLOR"}
    for name in list(os.environ):
        if name.upper() in ours:
            monkeypatch.delenv(name)


def env_file(text: str | bytes) -> None:
    """Write `.env`."""
    Path(".env").write_bytes(text.encode() if isinstance(text, str) else text)


def yaml_file(text: str) -> None:
    """Write the YAML file."""
    Path("config").mkdir(exist_ok=True)
    Path("config/settings.yaml").write_text(text, encoding="utf-8")


def refusal(**flags: object) -> InvalidSetting:
    """Read the settings and return why they are refused: always one line."""
    with pytest.raises(InvalidSetting) as caught:
        read_settings(**flags)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250
    return caught.value


def different() -> dict[str, object]:
    """Return every setting that is not at its default."""
    found = read_settings().model_dump()
    return {name: value for name, value in found.items() if value != DEFAULTS[name]}


# Where a value comes from.


def test_without_anything_all_is_default() -> None:
    """No file and no variable is needed."""
    assert different() == {}
    assert unknown_keys() == []


def test_the_defaults_that_scripts_rely_on() -> None:
    """These are promised to everybody."""
    settings = read_settings()
    assert (settings.server_ip, settings.server_port) == ("127.0.0.1", 8000)
    assert (settings.websocket_ip, settings.websocket_port) == ("127.0.0.1", 8765)
    assert settings.market_source is None
    assert settings.symbols == ()
    assert settings.data_dir == Path("data")
    assert settings.display_timezone == "Asia/Kolkata"
    assert settings.late_trade_grace_ms == 300
    assert settings.empty_seconds == "carry"
    assert settings.rate_limit == "10/second"
    assert settings.max_connections_per_ip == 100
    assert (settings.ring_seconds, settings.ring_max_mb) == (3_600, 256)
    assert settings.forming_per_second == 4
    assert (settings.log_level, settings.log_format) == ("info", "text")
    assert (settings.grpc_ip, settings.grpc_port) == ("127.0.0.1", 50051)
    assert settings.streams == ("trade", "kline_1s", "depth@100ms", "bookTicker")
    assert (settings.book_source, settings.book_depth) == ("stream", 1_000)
    assert (settings.book_poll_limit, settings.book_poll_interval_ms) == (100, 1_000)


def test_flags_then_environment_then_env_file_then_yaml(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each source wins over those behind it."""
    yaml_file("server_port: 1\nwebsocket_port: 1\nsymbols: [a]\ndata_dir: yaml\nlog_level: error\n")
    env_file("SERVER_PORT=2\nWEBSOCKET_PORT=2\nSYMBOLS=b\nDATA_DIR=dotenv\n")
    monkeypatch.setenv("SERVER_PORT", "3")
    monkeypatch.setenv("WEBSOCKET_PORT", "3")
    monkeypatch.setenv("SYMBOLS", "c")
    settings = read_settings(server_port=4, symbols="d", websocket_port=None)
    assert settings.server_port == 4
    assert settings.symbols == ("D",)
    assert settings.websocket_port == 3
    assert settings.data_dir == Path("dotenv")
    assert settings.log_level == "error"
    assert settings.log_format == "text"


@pytest.mark.parametrize(
    ("newer", "older"), list(combinations(("flag", "environment", ".env", "yaml"), 2))
)
def test_an_older_name_has_the_rank_of_where_it_stands(
    newer: str, older: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BINANCE_TESTNET is BINANCE_STREAM_URL: neither name wins because of its spelling."""
    for names in (("BINANCE_STREAM_URL", "BINANCE_TESTNET"), ("BINANCE_TESTNET",) * 2):
        flags: dict[str, object] = {}
        for source, name, value in ((newer, names[0], "ws://wins"), (older, names[1], "ws://not")):
            if source == "flag":
                flags["binance_stream_url"] = value
            elif source == "environment":
                monkeypatch.setenv(name, value)
            elif source == ".env":
                env_file(f"{name}={value}\n")
            else:
                yaml_file(f"{name.lower()}: {value}\n")
        assert read_settings(**flags).binance_stream_url == "ws://wins"


def test_names_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """Upper and lower case name the same setting, everywhere."""
    monkeypatch.setenv("server_port", "81")
    env_file("Websocket_Port=82\n")
    yaml_file("DATA_DIR: elsewhere\n")
    settings = read_settings()
    assert (settings.server_port, settings.websocket_port) == (81, 82)
    assert settings.data_dir == Path("elsewhere")


def test_an_empty_value_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name without a value means the default, or what stands behind."""
    monkeypatch.setenv("SERVER_PORT", "")
    env_file("SERVER_PORT=81\nMARKET_SOURCE=\nSYMBOLS=\n")
    yaml_file("websocket_port:\nsymbols: [BTCUSDT]\n")
    assert different() == {"server_port": 81, "symbols": ("BTCUSDT",)}


def test_spaces_around_values_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value means the same with spaces around it."""
    monkeypatch.setenv("MARKET_SOURCE", " simulated ")
    monkeypatch.setenv("SERVER_IP", " 0.0.0.0\t")
    monkeypatch.setenv("SERVER_PORT", " 81 ")
    monkeypatch.setenv("LOG_LEVEL", " DEBUG ")
    assert different() == {
        "market_source": "simulated",
        "server_ip": "0.0.0.0",
        "server_port": 81,
        "log_level": "debug",
    }


def test_an_env_file_as_editors_write_it() -> None:
    """A byte order mark, Windows line ends, comments, quotes and `export` are all understood."""
    env_file(
        b"\xef\xbb\xbfSERVER_PORT=81\r\n# a comment\r\n\r\n"
        b"export SYMBOLS='btcusdt, ethusdt'  # two\r\n"
        b'DATA_DIR="my data"\r\n'
    )
    assert different() == {
        "server_port": 81,
        "symbols": ("BTCUSDT", "ETHUSDT"),
        "data_dir": Path("my data"),
    }


def test_yaml_in_its_own_way() -> None:
    """Numbers, lists and mappings may be written as YAML writes them."""
    yaml_file(
        "replay_speed: 20\nrate_limit: 5\nsymbols: [btcusdt, ETHUSDT]\n"
        "rate_limits:\n  tick: 50/second\n  metrics: 0\nallowed_origins:\n  - https://a.example\n"
        "data_dir: 2024-08-08\n"
    )
    assert different() == {
        "replay_speed": "20",
        "rate_limit": "5",
        "symbols": ("BTCUSDT", "ETHUSDT"),
        "rate_limits": {"tick": "50/second", "metrics": "0"},
        "allowed_origins": ("https://a.example",),
        "data_dir": Path("2024-08-08"),
    }


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n"])
def test_empty_files_set_nothing(text: str) -> None:
    """Files with nothing in them are as good as none."""
    yaml_file(text)
    env_file(text.replace("-", ""))
    assert different() == {}


def test_settings_do_not_change() -> None:
    """What was read stays as it was read."""
    with pytest.raises(ValidationError):
        read_settings().server_port = 1


# Values.


def test_symbols_are_a_list() -> None:
    """Symbols come in any case, each once, in their order."""
    settings = read_settings(symbols=" ethusdt, BTCUSDT,,EthUsdt , 币安人生usdt")
    assert settings.symbols == ("ETHUSDT", "BTCUSDT", "币安人生USDT")
    assert read_settings(symbols="").symbols == ()


@pytest.mark.parametrize("speed", ["1", "0.5", "999999", "max"])
def test_speeds_of_a_replay(speed: str) -> None:
    """A replay runs any number of times faster, or as fast as can be."""
    assert read_settings(replay_speed=speed.upper()).replay_speed == speed


def test_proxies_have_one_spelling() -> None:
    """Addresses and networks are brought into the spelling that every reader understands."""
    proxies = read_settings(trusted_proxies="10.0.0.1, 10.1.2.3/8, ::0001, 192.168.1.1/32")
    assert proxies.trusted_proxies == ("10.0.0.1", "10.0.0.0/8", "::1", "192.168.1.1")


@pytest.mark.parametrize(
    "limit", ["0", "5", "10/second", "10/second;100/minute", "1 per 2 hours", "5/day ; 1/5 minutes"]
)
def test_limits_that_can_be_read(limit: str) -> None:
    """A limit is a count per time, several of them, a bare count per second, or 0."""
    settings = read_settings(rate_limit=limit, rate_limits=f"tick={limit},metrics=0")
    assert settings.rate_limit == limit
    assert settings.rate_limits == {"tick": limit, "metrics": "0"}


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("SERVER_PORT", "abc", "integer"),
        ("SERVER_PORT", "-1", "0"),
        ("SERVER_PORT", "65536", "65535"),
        ("SERVER_PORT", "80.5", "integer"),
        ("SERVER_PORT", "9" * 5_000, "integer"),
        ("WEBSOCKET_PORT", "http", "integer"),
        ("SIMULATOR_SEED", "seven", "integer"),
        ("REPLAY_SPEED", "fast", "max"),
        ("REPLAY_SPEED", "0", "max"),
        ("REPLAY_SPEED", "-1", "max"),
        ("REPLAY_SPEED", "nan", "max"),
        ("REPLAY_SPEED", "inf", "max"),
        ("SYMBOLS", "BTCUSDT,ETH USDT", "'ETH USDT'"),
        ("SYMBOLS", "x" * 500, "BTCUSDT"),
        ("LATE_TRADE_GRACE_MS", "10001", "10000"),
        ("LATE_TRADE_GRACE_MS", "-1", "0"),
        ("EMPTY_SECONDS", "keep", "'carry' or 'skip'"),
        ("DISPLAY_TIMEZONE", "Kolkata", "Asia/Kolkata"),
        ("DISPLAY_TIMEZONE", "Asia", "Asia/Kolkata"),
        ("DISPLAY_TIMEZONE", "../../etc/passwd", "Asia/Kolkata"),
        ("DISPLAY_TIMEZONE", "/etc/passwd", "Asia/Kolkata"),
        ("ALLOWED_ORIGINS", "dash.example", "https://dash.example"),
        ("ALLOWED_ORIGINS", "https://a.example,null", "https://dash.example"),
        ("ALLOWED_HOSTS", "https://hub.example", "hub.example"),
        ("TRUSTED_PROXIES", "proxy.example", "10.0.0.1"),
        ("TRUSTED_PROXIES", "10.0.0.1/33", "10.0.0.1"),
        ("MAX_CONNECTIONS", "0", "1"),
        ("MAX_CONNECTIONS_PER_IP", "-1", "0"),
        ("WEBSOCKET_MESSAGES_PER_SECOND", "-1", "0"),
        ("WEBSOCKET_MAX_MESSAGE_BYTES", "10", "1024"),
        ("WEBSOCKET_MAX_SUBSCRIPTIONS", "0", "1"),
        ("SLOW_CLIENT_GRACE_MS", "-5", "0"),
        ("RATE_LIMIT", "often", "10/second"),
        ("RATE_LIMIT", "10/fortnight", "10/second"),
        ("RATE_LIMIT", "0/second", "10/second"),
        ("RATE_LIMITS", "tick", "tick=50/second"),
        ("RATE_LIMITS", "tick=often", "tick=50/second"),
        ("GRPC_PORT", "70000", "65535"),
        ("STREAMS", "trade,candles", "'candles'"),
        ("STREAMS", "kline_1S", "'kline_1S'"),
        ("STREAMS", "depth7", "'depth7'"),
        ("SYMBOL_STREAMS", "BTCUSDT", "BTCUSDT=trade+kline_1s"),
        ("SYMBOL_STREAMS", "BTC USDT=trade", "'BTC USDT'"),
        ("SYMBOL_STREAMS", "BTCUSDT=trade+prices", "'prices'"),
        ("BOOK_SOURCE", "rest", "'stream', 'poll' or 'hybrid'"),
        ("BOOK_DEPTH", "5001", "5000"),
        ("BOOK_POLL_LIMIT", "0", "1"),
        ("BOOK_METRICS_LEVELS", "0", "1"),
        ("BOOK_METRICS_BANDS", "10,x", "basis points"),
        ("BOOK_METRICS_BANDS", "10,10000", "9999"),
        ("BOOK_METRICS_BANDS", "1,2,3,4,5,6,7,8,9,10,11", "one to ten"),
        ("BOOK_METRICS_WINDOW_S", "901", "900"),
        ("BOOK_METRICS_SECONDS", "3601", "3600"),
        ("BOOK_POLL_INTERVAL_MS", "99", "100"),
        ("BOOK_POLLS", "BTCUSDT=1000", "BTCUSDT=1000@500"),
        ("BOOK_POLLS", "BTCUSDT=5001@500", "5000"),
        ("BOOK_POLLS", "BTCUSDT=1000@99", "100"),
        ("BOOK_POLLS", "?=1000@500", "'?'"),
        ("LOG_LEVEL", "loud", "'debug'"),
        ("LOG_FORMAT", "xml", "'text' or 'json'"),
    ],
)
@pytest.mark.parametrize("where", ["flag", "environment", ".env"])
def test_a_bad_value_names_its_setting(
    key: str, value: str, word: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Start-up stops with one line: the setting, its value, and what was expected."""
    flags: dict[str, object] = {}
    if where == "flag":
        flags[key.lower()] = value
    elif where == "environment":
        monkeypatch.setenv(key, value)
    else:
        env_file(f"LOG_LEVEL=info\n{key}={value}\n")
    error = refusal(**flags)
    assert error.key == key
    assert word in error.expected
    assert value[:50].lower() in str(error).lower()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("server_port: [1, 2]\n", "SERVER_PORT"),
        ("server_port: yes\n", "SERVER_PORT"),
        ("symbols: {a: b}\n", "SYMBOLS"),
        ("symbols: [[7]]\n", "SYMBOLS"),
        ("late_trade_grace_ms: 1.5\n", "LATE_TRADE_GRACE_MS"),
        ("market_source: [binance]\n", "MARKET_SOURCE"),
        ("rate_limits: 5\n", "RATE_LIMITS"),
        ("rate_limits: {tick: often}\n", "RATE_LIMITS"),
        ("data_dir: [5]\n", "DATA_DIR"),
        ("allowed_origins: {a: b}\n", "ALLOWED_ORIGINS"),
        ("streams: {a: b}\n", "STREAMS"),
        ("symbol_streams: {BTCUSDT: 7}\n", "SYMBOL_STREAMS"),
        ("book_polls: {BTCUSDT: [1000, 500]}\n", "BOOK_POLLS"),
        ("book_polls: 5\n", "BOOK_POLLS"),
    ],
)
def test_a_bad_value_in_yaml_names_its_setting(text: str, key: str) -> None:
    """So does a value of the wrong kind in the YAML file."""
    yaml_file(text)
    assert refusal().key == key


def test_streams_are_spelt_as_the_exchange_spells_them() -> None:
    """Names come in any case, each once, in their order; only klines keep theirs: 1m is not 1M."""
    names = "TRADE, bookticker,kline_1M,Depth20@100MS,kline_1m,,aggtrade,trade,depth@1000ms"
    assert read_settings(streams=names).streams == (
        *("trade", "bookTicker", "kline_1M", "depth20@100ms", "kline_1m", "aggTrade", "depth"),
    )
    names = "TICKER,miniTicker,avgprice,Ticker_4H"
    assert read_settings(streams=names).streams == ("ticker", "miniTicker", "avgPrice", "ticker_4h")
    assert "at least one" in refusal(streams=" , ").expected


def test_bands_rise_and_are_there_once() -> None:
    """However they are written down."""
    assert read_settings(book_metrics_bands="50, 5,50").book_metrics_bands == (5, 50)
    yaml_file("book_metrics_bands: [100, 10]\n")
    assert different() == {"book_metrics_bands": (10, 100)}


def test_single_symbols_have_streams_and_polls_of_their_own() -> None:
    """They come as pairs, or as YAML writes mappings and lists."""
    streams = {"BTCUSDT": ("trade", "depth"), "ETHUSDT": ("aggTrade",)}
    polls = {"BTCUSDT": (1_000, 500), "ETHUSDT": (20, 2_000)}
    flags = read_settings(
        symbol_streams="btcusdt=trade+depth, ETHUSDT=aggTrade",
        book_polls="btcusdt=1000@500 , ETHUSDT=20@2000",
    )
    assert (flags.symbol_streams, flags.book_polls) == (streams, polls)
    yaml_file(
        "symbol_streams:\n  btcusdt: [trade, depth]\n  ETHUSDT: aggTrade\n"
        "book_polls:\n  BTCUSDT: 1000@500\n  ETHUSDT: 20@2000\n"
    )
    assert different() == {"symbol_streams": streams, "book_polls": polls}
    yaml_file("symbol_streams: {BTCUSDT: trade+depth, ETHUSDT: [aggTrade]}\n")
    assert different() == {"symbol_streams": streams}


def test_streams_of_single_symbols_may_name_a_zone() -> None:
    """The sign before its hours joins no streams, in whatever file it stands."""
    streams = {"BTCUSDT": ("trade", "kline_1d@+08:00", "kline_1w@+08:00", "depth")}
    text = "trade+kline_1d@+08:00+kline_1w@+08:00+depth"
    assert read_settings(symbol_streams=f"btcusdt={text}").symbol_streams == streams
    yaml_file(f"symbol_streams: {{BTCUSDT: {text}}}\n")
    assert different() == {"symbol_streams": streams}
    assert read_settings(streams="kline_1d@+08:00").streams == ("kline_1d@+08:00",)
    assert "'kline_1d@+09:00'" in refusal(symbol_streams="BTCUSDT=kline_1d@+09:00").expected


def test_tls_needs_a_certificate_and_its_key() -> None:
    """One of the two files without the other stops the start, naming both."""
    assert read_settings(grpc_tls_cert="c.pem", grpc_tls_key="k.pem").grpc_tls_key == Path("k.pem")
    assert "GRPC_TLS_KEY" in refusal(grpc_tls_cert="c.pem").expected
    assert read_settings(websocket_tls_cert="c.pem", websocket_tls_key="k.pem").mirror
    assert "WEBSOCKET_TLS_KEY" in refusal(websocket_tls_cert="c.pem").expected
    assert "WEBSOCKET_TLS_CERT" in refusal(websocket_tls_key="k.pem").expected
    assert "GRPC_TLS_CERT" in refusal(grpc_tls_key="k.pem").expected


@pytest.mark.parametrize("text", ["on", "On", "true", " ON "])
def test_a_switch_is_on_or_off(text: str) -> None:
    """As people write it in a shell, and as YAML has it."""
    assert read_settings(mirror_auto_subscribe=text).mirror_auto_subscribe
    assert not read_settings(mirror="off").mirror
    assert refusal(mirror="perhaps").expected == "on or off"


@pytest.mark.parametrize("name", ["streams", "symbols", "symbol_streams", "book_polls"])
def test_what_cannot_be_printed_is_said_in_few_words(name: str) -> None:
    """Ten characters stand for one of them, and the error stays short."""
    assert refusal(**{name: "\U0003134b" * 40}).key == name.upper()


def test_a_multi_line_value_gives_one_line() -> None:
    """Whatever a value holds, the error stays one line."""
    assert refusal(server_port="a\nb\r\nc").key == "SERVER_PORT"


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(name=st.sampled_from(sorted(Settings.model_fields)), value=st.text(max_size=40))
def test_any_text_is_a_value_or_a_named_error(name: str, value: str) -> None:
    """No text of any setting raises anything but `InvalidSetting` for that very setting."""
    try:
        read_settings(**{name: value})
    except InvalidSetting:
        assert refusal(**{name: value}).key == name.upper()


# Files that cannot be read.


def test_an_env_file_that_is_a_folder() -> None:
    """What is called `.env` and cannot be read stops the start."""
    Path(".env").mkdir()
    assert refusal().key == ".env"


def test_an_env_file_in_another_encoding() -> None:
    """Bytes that are no UTF-8 stop the start."""
    env_file("DATA_DIR=données\n".encode("latin-1"))
    assert refusal().key == ".env"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_an_env_file_without_permission() -> None:
    """A file that we may not read stops the start."""
    env_file("SERVER_PORT=81\n")
    Path(".env").chmod(0)
    assert refusal().key == ".env"


def test_an_env_file_that_points_nowhere() -> None:
    """A link whose target is gone is no file."""
    Path(".env").symlink_to("gone")
    assert different() == {}


@pytest.mark.parametrize(
    ("text", "number", "shown"),
    [
        ("SERVER_PORT=81\n\n\nthis is no setting\nA=1\n", 4, "this is no setting"),
        ("SERVER_PORT\n", 1, "SERVER_PORT"),
        ("# comment\nSERVER_PORT: 81\n", 2, "SERVER_PORT: 81"),
        ("A=1\r\n\r\nSERVER_PORT\r\n", 3, "SERVER_PORT"),
        ('DATA_DIR="open\nSERVER_PORT=81\n', 1, 'DATA_DIR="open'),
        ("A=1\n=5\n", 2, "=5"),
    ],
)
def test_a_line_that_is_no_setting_is_shown(text: str, number: int, shown: str) -> None:
    """A line of `.env` that sets nothing stops the start, with its number and its text."""
    env_file(text)
    error = refusal()
    assert error.key == f".env, line {number}"
    assert error.value == shown
    assert error.expected == "KEY=value"


@pytest.mark.parametrize(
    "text", ["a: [\n", "a:\n\t- b\n", "- a\n", "just text\n", "a: 'open\n", "\0", "a: *b\n", "%\n"]
)
def test_yaml_that_cannot_be_read(text: str) -> None:
    """A YAML file that is broken, or is no mapping, is named."""
    yaml_file(text)
    assert refusal().key.startswith("config/settings.yaml")


def test_a_yaml_file_that_is_a_folder_or_in_another_encoding() -> None:
    """So is one that cannot be read at all."""
    Path("config/settings.yaml").mkdir(parents=True)
    assert refusal().key == "config/settings.yaml"
    Path("config/settings.yaml").rmdir()
    Path("config/settings.yaml").write_bytes(b"a: \xff\n")
    assert refusal().key == "config/settings.yaml"


# Misspelt names.


def test_misspelt_names_are_told() -> None:
    """A name that resembles a setting is reported with that setting; it stops nothing."""
    env_file("SERVER_PROT=81\nBINANCE_TESTNET=ws://x\nSERVER_PORT=82\nCOMPOSE_PROJECT_NAME=x\n")
    yaml_file("symbol: a\nnothing_like_it: 1\nLOG_LEVEL: info\n")
    assert read_settings().server_port == 82
    told = unknown_keys()
    assert len(told) == 3
    assert "SERVER_PROT" in told[0]
    assert "SERVER_PORT" in told[0]
    assert "SYMBOLS" in told[1]
    assert "NOTHING_LIKE_IT" in told[2]


@pytest.mark.parametrize(("value", "wanted"), [(None, True), ("", True), ("1", False)])
def test_colours_can_be_switched_off(
    value: str | None, wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NO_COLOR with any value switches colours off."""
    if value is not None:
        monkeypatch.setenv("NO_COLOR", value)
    assert color_wanted() is wanted


# The example.


def example_values() -> dict[str, str]:
    """Return what the commented lines of the example say."""
    lines = re.findall(
        r"^# ([A-Z][A-Z0-9_]*)=(.*)$", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(dict(lines)) == len(lines)
    return dict(lines)


def test_the_example_names_every_setting_with_its_default() -> None:
    """Each setting stands in the example once, in the order of the code, with its real default."""
    values = example_values()
    assert values.pop("BINANCE_TESTNET") == ""  # an older name, with no default of its own
    assert list(values) == [name.upper() for name in Settings.model_fields]
    env_file("".join(f"{key}={value}\n" for key, value in values.items()))
    assert different() == {}
    assert unknown_keys() == []
    for key, value in values.items():
        default = DEFAULTS[key.lower()]
        text = ",".join(map(str, default)) if isinstance(default, tuple) else str(default)
        if isinstance(default, bool):
            text = "on" if default else "off"
        assert value == ("" if default in (None, {}) else text)


def test_the_example_explains_every_setting() -> None:
    """Above each setting stands at least one line that explains it, and nothing is set by it."""
    text = EXAMPLE.read_text(encoding="utf-8")
    paragraphs = [part.splitlines() for part in text.split("\n\n")]
    for key in example_values():
        (paragraph,) = [part for part in paragraphs if part[-1].startswith(f"# {key}=")]
        assert len(paragraph) > 1
        assert all(line.startswith("# ") for line in paragraph)
    env_file(text)
    assert different() == {}


def test_the_yaml_example_is_of_the_present_settings() -> None:
    """It says the same as .env.example, and with every line uncommented it sets the defaults."""
    text = YAML_EXAMPLE.read_text(encoding="utf-8")
    assert text == as_yaml(EXAMPLE.read_text(encoding="utf-8")), (
        "python -m scripts.settings_example"
    )
    yaml_file(text)
    assert different() == {}
    lines = re.findall(r"^# ([a-z][a-z0-9_]*):(?: (.*))?$", text, re.MULTILINE)
    assert [name for name, _ in lines if name != "binance_testnet"] == list(Settings.model_fields)
    yaml_file("".join(f"{name}: {value}\n" for name, value in lines))
    assert different() == {}
    assert unknown_keys() == []
