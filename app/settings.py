"""Every setting, read and checked once: flags, then environment, `.env`, YAML, then defaults.

The only module that reads the environment. A wrong value raises `InvalidSetting`, which names the
key, the value and what was expected. Rooms never see this module: they are given values.
"""

from __future__ import annotations

import difflib
import io
import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from dotenv.parser import Binding
from dotenv.parser import parse_stream as parse_env
from pydantic import (
    AliasChoices,
    BeforeValidator,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from typing_extensions import override

from app.binance.streams import (
    AGG_TRADE,
    AVERAGE_PRICE,
    BOOK_TICKER,
    MINI_TICKER,
    parse_stream,
)
from app.errors import InvalidSetting, InvalidSymbol
from app.market.symbols import parse_symbol

ENV_FILE = Path(".env")
YAML_FILE = Path("config/settings.yaml")

# A bare number means per second; several limits are separated by semicolons.
_LIMIT = re.compile(
    r"0|[1-9]\d*|{one}(?:\s*;\s*{one})*".format(
        one=r"[1-9]\d*\s*(?:/|per)\s*\d*\s*(?:second|minute|hour|day|month|year)s?"
    )
)
_ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.\-]*://[^\s/?#\\]+/?", re.IGNORECASE)
_HOST = re.compile(r"[^\s/?#@\\]+")
# LIMIT@MS: so many levels, each so many milliseconds.
_POLL = re.compile(r"([1-9]\d{0,3})@([1-9]\d{2,6})")

# Between the streams of one symbol; in kline_1d@+08:00 the sign belongs to the name.
_BETWEEN_STREAMS = re.compile(r"(?<!@)\+")

# Streams whose names have capitals. Of klines they mean something: 1m is not 1M.
_CAPITALS = {name.lower(): name for name in (AGG_TRADE, BOOK_TICKER, MINI_TICKER, AVERAGE_PRICE)}
_SOME_STREAMS = "trade, aggTrade, kline_1s, depth@100ms, depth20 or bookTicker"

Port = Annotated[int, Field(ge=0, le=65_535)]


def _switch(value: object) -> object:
    """Read `on` and `off`, which YAML has as true and false."""
    found = {"on": True, "true": True, "off": False, "false": False}.get(str(value).strip().lower())
    if found is None:
        message = "on or off"
        raise ValueError(message)
    return found


Switch = Annotated[bool, BeforeValidator(_switch)]
_PAIR = ("cert", "key")  # the two files of a certificate

TextList = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """All settings with their defaults; `.env.example` explains each to the people who set them."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        case_sensitive=False,
        str_strip_whitespace=True,
    )

    # Addresses
    server_ip: str = "127.0.0.1"
    server_port: Port = 8000
    websocket_ip: str = "127.0.0.1"
    websocket_port: Port = 8765
    websocket_tls_port: Port = 0
    websocket_tls_cert: Path | None = None
    websocket_tls_key: Path | None = None
    grpc_ip: str = "127.0.0.1"
    grpc_port: Port = 50051
    grpc_tls_cert: Path | None = None
    grpc_tls_key: Path | None = None

    # Source
    market_source: str | None = None
    binance_rest_url: str | None = None
    binance_stream_url: str | None = Field(
        default=None, validation_alias=AliasChoices("binance_stream_url", "binance_testnet")
    )
    binance_list: str | None = None
    simulator_seed: int = 7
    simulator_faults: Path | None = None
    replay_speed: str = "1"

    # Symbols and candles
    symbols: TextList = ()
    late_trade_grace_ms: Annotated[int, Field(ge=0, le=10_000)] = 300
    repair_deadline_ms: Annotated[int, Field(ge=0, le=60_000)] = 3_000
    backfill_max: Annotated[int, Field(ge=60, le=604_800)] = 86_400
    stale_after_ms: Annotated[int, Field(ge=1, le=3_600_000)] = 5_000
    symbols_per_connection: Annotated[int, Field(ge=1, le=512)] = 1
    empty_seconds: Literal["carry", "skip"] = "carry"
    forming_per_second: Annotated[int, Field(ge=1, le=50)] = 4
    display_timezone: str = "Asia/Kolkata"

    # Streams and order books
    streams: TextList = ("trade", "kline_1s", "depth@100ms", "bookTicker")
    symbol_streams: Annotated[dict[str, tuple[str, ...]], NoDecode] = Field(default_factory=dict)
    book_source: Literal["stream", "poll", "hybrid"] = "stream"
    book_depth: Annotated[int, Field(ge=1, le=5_000)] = 1_000
    book_poll_limit: Annotated[int, Field(ge=1, le=5_000)] = 100
    book_poll_interval_ms: Annotated[int, Field(ge=100, le=3_600_000)] = 1_000
    # Per symbol: how many levels, each how many milliseconds.
    book_polls: Annotated[dict[str, tuple[int, int]], NoDecode] = Field(default_factory=dict)
    book_metrics_levels: Annotated[int, Field(ge=1, le=1_000)] = 5
    book_metrics_bands: Annotated[tuple[int, ...], NoDecode] = (10, 50, 100)
    book_metrics_window_s: Annotated[int, Field(ge=1, le=900)] = 60
    book_metrics_seconds: Annotated[int, Field(ge=1, le=3_600)] = 600

    # What is kept
    data_dir: Path = Path("data")

    # Clients
    allowed_origins: TextList = ()
    allowed_hosts: TextList = ()
    trusted_proxies: TextList = ()
    gateway_processes: Annotated[int, Field(ge=1, le=64)] = 1
    max_connections: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    max_connections_per_ip: Annotated[int, Field(ge=0)] = 100
    max_handshakes: Annotated[int, Field(ge=1, le=1_000_000)] = 1_000
    max_handshakes_per_ip: Annotated[int, Field(ge=0)] = 50
    rest_max_connections: Annotated[int, Field(ge=0, le=1_000_000)] = 1_000
    rest_max_streams: Annotated[int, Field(ge=0, le=1_000_000)] = 500
    rest_max_streams_per_ip: Annotated[int, Field(ge=0)] = 50
    grpc_max_streams: Annotated[int, Field(ge=1, le=1_000_000)] = 1_000
    grpc_max_streams_per_ip: Annotated[int, Field(ge=0)] = 100
    websocket_messages_per_second: Annotated[int, Field(ge=0)] = 10
    websocket_messages_per_second_per_ip: Annotated[int, Field(ge=0, le=1_000_000)] = 100
    websocket_messages_per_second_total: Annotated[int, Field(ge=0, le=1_000_000)] = 20_000
    websocket_max_message_bytes: Annotated[int, Field(ge=1_024, le=16_777_216)] = 65_536
    websocket_max_subscriptions: Annotated[int, Field(ge=1)] = 1_024
    slow_client_grace_ms: Annotated[int, Field(ge=0)] = 10_000
    ring_seconds: Annotated[int, Field(ge=1, le=86_400)] = 3_600
    ring_max_mb: Annotated[int, Field(ge=1, le=65_536)] = 256
    rate_limit: str = "10/second"
    rate_limits: Annotated[dict[str, str], NoDecode] = Field(default_factory=dict)

    # The mirror of the exchange
    mirror: Switch = True
    mirror_auto_subscribe: Switch = False
    mirror_auto_symbols: Annotated[int, Field(ge=1, le=1_000)] = 50
    mirror_idle_s: Annotated[int, Field(ge=0, le=86_400)] = 300
    mirror_weight: Annotated[int, Field(ge=0, le=1_000_000)] = 6_000
    mirror_dials: Annotated[int, Field(ge=0, le=1_000_000)] = 300

    # Logs
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = "text"

    @field_validator("log_level", "log_format", "empty_seconds", "book_source", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.strip().lower() if isinstance(value, str) else value

    @field_validator("symbols", mode="before")
    @classmethod
    def _symbols(cls, value: object) -> object:
        try:
            return tuple(dict.fromkeys(parse_symbol(text) for text in _listed(value)))
        except InvalidSymbol as error:
            message = f"symbols such as BTCUSDT,ETHUSDT; {_quoted(error.text)} is none"
            raise ValueError(message) from error

    @field_validator("streams", mode="before")
    @classmethod
    def _streams(cls, value: object) -> object:
        return _stream_names(_listed(value))

    @field_validator("symbol_streams", mode="before")
    @classmethod
    def _streams_by_symbol(cls, value: object) -> object:
        expected = "symbols with their streams, such as BTCUSDT=trade+kline_1s,ETHUSDT=aggTrade"
        return {
            symbol: _stream_names(
                _listed(_BETWEEN_STREAMS.sub(",", streams) if isinstance(streams, str) else streams)
            )
            for symbol, streams in _by_symbol(value, expected).items()
        }

    @field_validator("book_metrics_bands", mode="before")
    @classmethod
    def _bands(cls, value: object) -> object:
        try:
            bands = sorted({int(text) for text in _listed(value)})
        except ValueError:
            bands = []
        if not bands or len(bands) > 10 or not 1 <= bands[0] <= bands[-1] < 10_000:
            message = "one to ten widths in basis points, each from 1 to 9999, such as 10,50,100"
            raise ValueError(message)
        return tuple(bands)

    @field_validator("book_polls", mode="before")
    @classmethod
    def _polls_by_symbol(cls, value: object) -> object:
        expected = (
            "symbols with levels@milliseconds, such as BTCUSDT=1000@500: "
            "1 to 5000 levels, 100 to 3600000 ms"
        )
        polls = {}
        for symbol, text in _by_symbol(value, expected).items():
            found = _POLL.fullmatch(str(text).strip())
            limit, every_ms = map(int, found.groups()) if found else (0, 0)
            if not (1 <= limit <= 5_000 and 100 <= every_ms <= 3_600_000):
                raise ValueError(expected)
            polls[symbol] = (limit, every_ms)
        return polls

    @model_validator(mode="after")
    def _certificate_and_key(self) -> Self:
        """Refuse one of the two files that TLS needs without the other."""
        for name in ("grpc_tls", "websocket_tls"):
            pair = {f"{name}_{each}".upper(): getattr(self, f"{name}_{each}") for each in _PAIR}
            missing = [key for key, value in pair.items() if value is None]
            if len(missing) == 1:
                ((key, value),) = ((k, v) for k, v in pair.items() if v is not None)
                raise InvalidSetting(
                    key=key, value=_short(value), expected=f"{missing[0]} to be set with it"
                )
        return self

    @field_validator("allowed_origins", mode="before")
    @classmethod
    def _origins(cls, value: object) -> object:
        return _listed(value, _ORIGIN, "origins such as https://dash.example, or *")

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _hosts(cls, value: object) -> object:
        return _listed(value, _HOST, "host names such as hub.example, or *")

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _proxies(cls, value: object) -> object:
        """Return addresses and networks in their usual spelling: not every reader is lenient."""
        try:
            networks = [ipaddress.ip_network(text, strict=False) for text in _listed(value)]
        except ValueError as error:
            message = "addresses or networks such as 10.0.0.1,192.168.0.0/16"
            raise ValueError(message) from error
        return tuple(
            str(network.network_address if network.num_addresses == 1 else network)
            for network in networks
        )

    @field_validator("rate_limit")
    @classmethod
    def _limit(cls, value: str) -> str:
        if not _LIMIT.fullmatch(value):
            message = "a limit such as 10/second or 10/second;100/minute, or 0 for none"
            raise ValueError(message)
        return value

    @field_validator("rate_limits", mode="before")
    @classmethod
    def _limits(cls, value: object) -> object:
        if isinstance(value, dict):
            pairs = {str(route): str(limit) for route, limit in value.items()}
        else:
            parts = (part.partition("=") for part in _listed(value))
            pairs = {route.strip(): limit.strip() for route, _, limit in parts}
        if not all(_LIMIT.fullmatch(limit) for limit in pairs.values()):
            message = "route=limit pairs such as tick=50/second,metrics=0"
            raise ValueError(message)
        return pairs

    @field_validator("display_timezone")
    @classmethod
    def _timezone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            message = "a time zone name such as Asia/Kolkata or UTC"
            raise ValueError(message) from error
        return value

    @field_validator("replay_speed")
    @classmethod
    def _speed(cls, value: str) -> str:
        speed = value.lower()
        if speed != "max":
            try:
                usable = 0 < float(speed) < 1e6
            except ValueError:
                usable = False
            if not usable:
                message = "a number above 0 and below 1000000, or max"
                raise ValueError(message)
        return speed

    @classmethod
    @override
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: flags, environment, `.env`, YAML."""
        del file_secret_settings
        yaml_settings = InitSettingsSource(settings_cls, init_kwargs=_yaml_values(YAML_FILE))
        return init_settings, env_settings, dotenv_settings, yaml_settings


@dataclass(frozen=True)
class Problem:
    """A setting that cannot be used: its key, its value, what was expected, where it stands."""

    key: str
    value: str
    expected: str
    origin: str


def read_settings(**flags: object) -> Settings:
    """Return the settings; `flags` win over everything, those that are `None` are left out.

    Raises `InvalidSetting` for the first value that cannot be used, and for a file that cannot be
    read.
    """
    given = {key: value for key, value in flags.items() if value is not None}
    _check_env_file(ENV_FILE)
    try:
        return Settings(_env_file=ENV_FILE, **given)  # type: ignore[call-arg, arg-type] # checked by pydantic
    except ValidationError as error:
        raise _invalid(error.errors()[0]) from error


def problems(**flags: object) -> list[Problem]:
    """Return all that `read_settings` could complain of, in the order of the settings."""
    given = {key: value for key, value in flags.items() if value is not None}
    try:
        _check_env_file(ENV_FILE)
        Settings(_env_file=ENV_FILE, **given)  # type: ignore[call-arg, arg-type] # checked by pydantic
    except InvalidSetting as error:
        found = [error]
    except ValidationError as error:
        found = [_invalid(detail) for detail in error.errors()]
    else:
        return []
    return [
        Problem(error.key, _short(error.value), error.expected, origin_of(error.key, flags))
        for error in found
    ]


def origin_of(key: str, flags: Mapping[str, object]) -> str:
    """Say where a setting has its value from; empty for a default and for what is none."""
    name = key.lower()
    names = {name, "binance_testnet"} if name == "binance_stream_url" else {name}
    if flags.get(name) is not None:
        return "the command line"
    if any(each.lower() in names and os.environ[each] for each in os.environ):
        return "the environment"
    for binding in _env_lines(ENV_FILE):
        if binding.key and binding.key.lower() in names and binding.value:
            return f"{ENV_FILE}, line {_line_number(binding)}"
    return str(YAML_FILE) if names & _yaml_values(YAML_FILE).keys() else ""


def _invalid(detail: ErrorDetails) -> InvalidSetting:
    key = ".".join(str(part) for part in detail["loc"]).upper() or "settings"
    return InvalidSetting(key, _short(detail.get("input")), _expected(detail["msg"]))


def unknown_keys() -> list[str]:
    """Return a sentence for each key of `.env` or YAML that looks like a misspelt setting.

    Every key of the YAML file should be one; `.env` is often shared with other programs, so there
    only what resembles a setting is meant.
    """
    known = {name.upper() for name in Settings.model_fields} | {"BINANCE_TESTNET"}
    sentences = []
    for path, keys in (
        (ENV_FILE, [binding.key or "" for binding in _env_lines(ENV_FILE)]),
        (YAML_FILE, list(_yaml_values(YAML_FILE))),
    ):
        for key in (key.upper() for key in keys if key and key.upper() not in known):
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.8)
            hint = f"; did you mean {near[0]}?" if near else ""
            if near or path is YAML_FILE:
                sentences.append(f"{path}: {key} is not a setting{hint}")
    return sentences


def color_wanted() -> bool:
    """Whether the environment lets a terminal be coloured (https://no-color.org)."""
    return not os.environ.get("NO_COLOR")


def _check_env_file(path: Path) -> None:
    """Raise `InvalidSetting` when `path` cannot be read, or holds a line that is no setting."""
    for binding in _env_lines(path):
        if binding.error or (binding.key is not None and binding.value is None):
            raise InvalidSetting(
                key=f"{path}, line {_line_number(binding)}",
                value=_short(binding.original.string),
                expected="KEY=value",
            )


def _line_number(binding: Binding) -> int:
    text = binding.original.string
    above = text[: len(text) - len(text.lstrip())]
    return binding.original.line + len(above.splitlines())


def _env_lines(path: Path) -> Iterator[Binding]:
    """Return what the lines of `path` say; nothing when there is no such file."""
    text = _text_of(path)
    return iter(()) if text is None else parse_env(io.StringIO(text))


def _yaml_values(path: Path) -> dict[str, Any]:
    """Return what the YAML file sets, keys in lower case; a key without a value sets nothing."""
    text = _text_of(path)
    if text is None:
        return {}
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        what = _short(getattr(error, "problem", None) or error)
        raise InvalidSetting(where, what, "readable YAML") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InvalidSetting(str(path), _short(values), "lines of `key: value`")
    return {str(key).lower(): _as_text(value) for key, value in values.items() if value is not None}


def _as_text(value: object) -> object:
    """Return a single YAML value as the text that the environment would hold: `yes` is no port."""
    return value if isinstance(value, list | dict) else str(value)


def _text_of(path: Path) -> str | None:
    """Return the text of a file, `None` when there is none; raise `InvalidSetting`."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSetting(str(path), _short(error), "a readable UTF-8 file") from error


def _listed(
    value: object, each: re.Pattern[str] | None = None, expected: str = "a list"
) -> tuple[str, ...]:
    """Return the parts of a comma list, or of a YAML list; each must match `each`."""
    if isinstance(value, str):
        parts = tuple(part.strip() for part in value.split(",") if part.strip())
    elif isinstance(value, list | tuple):
        parts = tuple(str(part).strip() for part in value)
    else:
        message = "a list separated by commas"
        raise ValueError(message)  # noqa: TRY004 - a TypeError would pass through pydantic
    if each is not None and not all(each.fullmatch(part) for part in parts):
        raise ValueError(expected)
    return parts


def _stream_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return names of streams in the exchange's spelling, each once; raise `ValueError`."""
    found = []
    for name in names:
        small = name if name.startswith("kline_") else name.lower()
        stream = parse_stream(f"x@{_CAPITALS.get(small, small)}")
        if stream is None:
            message = f"streams such as {_SOME_STREAMS}; {_quoted(name)} is none"
            raise ValueError(message)
        found.append(str(stream).removeprefix("x@"))
    if not found:
        message = f"at least one stream, such as {_SOME_STREAMS}"
        raise ValueError(message)
    return tuple(dict.fromkeys(found))


def _by_symbol(value: object, expected: str) -> dict[str, object]:
    """Return `SYMBOL=text` pairs, or a YAML mapping, by symbol; raise `ValueError`."""
    pairs: list[tuple[object, object]]
    if isinstance(value, dict):
        pairs = list(value.items())
    else:
        parts = [part.partition("=") for part in _listed(value)]
        if not all(equals for _, equals, _ in parts):
            raise ValueError(expected)
        pairs = [(symbol, text) for symbol, _, text in parts]
    try:
        return {parse_symbol(str(symbol)): text for symbol, text in pairs}
    except InvalidSymbol as error:
        message = f"{expected}; {_quoted(error.text)} is no symbol"
        raise ValueError(message) from error


def _quoted(text: str) -> str:
    """Return a text in quotes, with what cannot be printed escaped, and short even so."""
    quoted = repr(text)
    return quoted if len(quoted) <= 40 else f"{quoted[:39]}…"


def _short(value: object) -> str:
    """Return a value as one short line."""
    text = " ".join(str(value).split())
    return text if len(text) <= 80 else f"{text[:80]}…"


def _expected(message: str) -> str:
    return message.removeprefix("Value error, ").removeprefix("Input should be ")
