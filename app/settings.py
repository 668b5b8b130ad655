"""Every setting, read and checked once: flags, then environment, `.env`, YAML, then defaults.

The only module that reads the environment. A wrong value raises `InvalidSetting`, which names the
key, the value and what was expected. Rooms never see this module: they are given values.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dotenv.parser import parse_stream
from pydantic import AliasChoices, Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)
from typing_extensions import override

from app.errors import InvalidSetting, InvalidSymbol
from app.market.symbols import parse_symbol

ENV_FILE = Path(".env")
YAML_FILE = Path("config/settings.yaml")

Port = Annotated[int, Field(ge=0, le=65_535)]
TextList = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """All settings with their defaults; `.env.example` explains each to the people who set them."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_ignore_empty=True, case_sensitive=False
    )

    # Addresses
    server_ip: str = "127.0.0.1"
    server_port: Port = 8000
    websocket_ip: str = "127.0.0.1"
    websocket_port: Port = 8765

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
    empty_seconds: Literal["carry", "skip"] = "carry"
    display_timezone: str = "Asia/Kolkata"

    # What is kept
    data_dir: Path = Path("data")

    # Clients
    allowed_origins: TextList = ()
    allowed_hosts: TextList = ()
    trusted_proxies: TextList = ()
    max_connections: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    max_connections_per_ip: Annotated[int, Field(ge=0)] = 100
    websocket_messages_per_second: Annotated[int, Field(ge=0)] = 10
    websocket_max_message_bytes: Annotated[int, Field(ge=1_024, le=16_777_216)] = 65_536
    websocket_max_subscriptions: Annotated[int, Field(ge=1)] = 1_024
    outbox_max_messages: Annotated[int, Field(ge=1)] = 4_096
    outbox_max_bytes: Annotated[int, Field(ge=65_536)] = 1_048_576
    slow_client_grace_ms: Annotated[int, Field(ge=0)] = 10_000
    rate_limit: str = "10/second"
    rate_limits: Annotated[dict[str, str], NoDecode] = Field(default_factory=dict)

    # Logs
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = "text"

    @field_validator("log_level", "log_format", "empty_seconds", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.strip().lower() if isinstance(value, str) else value

    @field_validator("symbols", mode="before")
    @classmethod
    def _symbols(cls, value: object) -> object:
        try:
            return tuple(dict.fromkeys(parse_symbol(text) for text in _listed(value)))
        except InvalidSymbol as error:
            raise ValueError(str(error)) from error

    @field_validator("allowed_origins", "allowed_hosts", "trusted_proxies", mode="before")
    @classmethod
    def _texts(cls, value: object) -> object:
        return _listed(value)

    @field_validator("rate_limits", mode="before")
    @classmethod
    def _limits(cls, value: object) -> object:
        if isinstance(value, dict):
            return value
        pairs = {}
        for part in _listed(value):
            route, separator, limit = part.partition("=")
            if not separator:
                message = "expected route=limit pairs such as tick=50/second,metrics=0"
                raise ValueError(message)
            pairs[route.strip()] = limit.strip()
        return pairs

    @field_validator("display_timezone")
    @classmethod
    def _timezone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            message = "expected a time zone name such as Asia/Kolkata or UTC"
            raise ValueError(message) from error
        return value

    @field_validator("replay_speed")
    @classmethod
    def _speed(cls, value: str) -> str:
        if value != "max":
            try:
                usable = 0 < float(value) < 1e6
            except ValueError:
                usable = False
            if not usable:
                message = "expected a number above 0, or max"
                raise ValueError(message)
        return value

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
        yaml = YamlConfigSettingsSource(settings_cls, yaml_file=YAML_FILE)
        return init_settings, env_settings, dotenv_settings, yaml


def read_settings(**flags: object) -> Settings:
    """Return the settings; `flags` win over everything, those that are `None` are left out.

    Raises `InvalidSetting` for the first value that cannot be used, and for a file that cannot be
    read.
    """
    given = {key: value for key, value in flags.items() if value is not None}
    if ENV_FILE.exists():
        _check_env_file(ENV_FILE)
    try:
        return Settings(_env_file=ENV_FILE, **given)  # type: ignore[call-arg, arg-type] # checked by pydantic
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]).upper() or "settings"
        raise InvalidSetting(key, _short(first.get("input")), _expected(first["msg"])) from error
    except (OSError, ValueError) as error:
        raise InvalidSetting(
            key="configuration", value=YAML_FILE, expected=f"readable YAML ({error})"
        ) from error


def unknown_keys() -> list[str]:
    """Return a sentence for each key of `.env` that looks like a misspelt setting."""
    if not ENV_FILE.exists():
        return []
    known = {name.upper() for name in Settings.model_fields} | {"BINANCE_TESTNET"}
    sentences = []
    with ENV_FILE.open(encoding="utf-8") as lines:
        for binding in parse_stream(lines):
            key = (binding.key or "").upper()
            if key and key not in known:
                near = difflib.get_close_matches(key, known, n=1, cutoff=0.8)
                if near:
                    sentences.append(f"{ENV_FILE}: {key} is not a setting; did you mean {near[0]}?")
    return sentences


def color_wanted() -> bool:
    """Whether the environment lets a terminal be coloured (https://no-color.org)."""
    return not os.environ.get("NO_COLOR")


def _check_env_file(path: Path) -> None:
    """Raise `InvalidSetting` when `path` cannot be read, or holds a line that is no setting."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSetting(
            key=".env", value=path, expected=f"a readable UTF-8 file ({error})"
        ) from error
    with path.open(encoding="utf-8") as lines:
        for binding in parse_stream(lines):
            if binding.error:
                line = text.splitlines()[binding.original.line - 1]
                raise InvalidSetting(
                    key=f".env, line {binding.original.line}",
                    value=_short(line),
                    expected="KEY=value",
                )


def _listed(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if isinstance(value, list | tuple):
        return tuple(str(part) for part in value)
    message = "expected a list separated by commas"
    raise ValueError(message)


def _short(value: Any) -> str:  # noqa: ANN401 - whatever was given
    text = str(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _expected(message: str) -> str:
    text = message.removeprefix("Value error, ").removeprefix("expected ")
    return text.removeprefix("Input should be ")
