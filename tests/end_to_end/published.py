"""What a hub published, as its bus numbered it: the truth by which its clients are judged.

The program itself writes it down, event by event, before anybody receives it: Python loads a module
of that purpose when the program starts. Nothing of the hub's own texts is used here.
"""

from __future__ import annotations

import json
import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from tests.end_to_end.running_program import ROOT

Key = tuple[str, str, str]
"""A channel, a symbol and an interval; growing candles have the channel `forming`."""

Message = dict[str, Any]

_FILE = "published.jsonl"
_WRITES_DOWN = """
import os
import msgspec
from app.bus.memory import MemoryBus

publish = MemoryBus.publish
lines = None

def written_down(bus, topic, event):
    global lines
    if lines is None:
        lines = open(os.environ["PUBLISHED_TO"], "ab", buffering=0)
    lines.write(msgspec.json.encode((bus.epoch, bus.sequence + 1, topic, event)) + b"\\n")
    publish(bus, topic, event)

MemoryBus.publish = written_down
"""
# What waits for a client that does not read fills these in a second or two, not in minutes; and
# hundreds of clients meet what else only thousands would, or an hour of history.
_SMALL_STEPS = """
from app.gateways.fanout import broadcaster
from app.gateways.live.config import LiveConfig
from app.sockets.limits import SessionLimits

LiveConfig.__init__.__kwdefaults__["send_buffer_bytes"] = 2304
SessionLimits.__init__.__kwdefaults__["write_high_water"] = 2048
for name, few in {"_AT_ONCE": 8, "_LATE_AT_ONCE": 2, "_IN_A_FLUSH": 5, "_LOOKED_AT": 20}.items():
    assert hasattr(broadcaster, name), name
    setattr(broadcaster, name, few)
"""
_RENAMED = {
    "first_id": "first_trade_id",
    "last_id": "last_trade_id",
    "from_us": "from",
    "to_us": "to",
    "until_us": "until",
}


def writing_down(folder: Path, *, small_steps: bool = False) -> dict[str, str]:
    """Return the environment in which a program of `folder` writes down what it publishes."""
    text = _WRITES_DOWN + (_SMALL_STEPS if small_steps else "")
    (folder / "sitecustomize.py").write_text(text)
    return {
        "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}",
        "PUBLISHED_TO": str(folder / _FILE),
        "DISPLAY_TIMEZONE": "UTC",
    }


class Published(NamedTuple):
    """One publication, and what a message of it must say."""

    sequence: int
    key: Key
    message: Message


class Truth:
    """Everything that one life of a hub published, ascending."""

    def __init__(self, items: Iterable[Published]) -> None:
        self.items = list(items)
        self.by_sequence = {item.sequence: item for item in self.items}
        self._sequences = [item.sequence for item in self.items]
        self._by_key: dict[Key, list[Published]] = {}
        for item in self.items:
            self._by_key.setdefault(item.key, []).append(item)

    def between(self, after: int, until: int, wanted: Callable[[Key], bool]) -> Iterator[Published]:
        """Yield what was published later than `after`, up to `until`, and is wanted."""
        start = bisect_right(self._sequences, after)
        end = bisect_right(self._sequences, until)
        return (item for item in self.items[start:end] if wanted(item.key))

    def newest(self, until: int, wanted: Callable[[Key], bool]) -> dict[tuple[str, int], Published]:
        """Return the newest issue of each candle by symbol and open time, as of a sequence."""
        found: dict[tuple[str, int], Published] = {}
        for key, items in self._by_key.items():
            if wanted(key):
                for item in items:
                    if item.sequence <= until:
                        found[key[1], item.message["open_time"]] = item
        return found


def what_was_published(folder: Path) -> Truth:
    """Return what the program of `folder` has written down so far."""
    return Truth(_read(line) for line in (folder / _FILE).read_bytes().splitlines())


def _read(line: bytes) -> Published:
    epoch, sequence, topic, event = json.loads(line)
    symbol: str = event["symbol"]
    place = {"source": "simulated", "epoch": epoch, "sequence": sequence}
    match topic:
        case "candles" | "forming":
            key = (topic, symbol, event["interval"])
            return Published(sequence, key, _candle(event, grows=topic == "forming") | place)
        case "trades":
            return Published(sequence, (topic, symbol, ""), _trade(event) | place)
        case _:
            return Published(sequence, (topic, symbol, ""), _status(event) | place)


def _candle(event: Mapping[str, Any], *, grows: bool) -> Message:
    numbers = ("open", "high", "low", "close", "volume", "quote_volume")
    bought = ("taker_buy_volume", "taker_buy_quote_volume")
    same = ("symbol", "trades", "first_trade_id", "last_trade_id", "complete", "revision")
    return {
        **{name: event[name] for name in (*same, "interval")},
        **{name: Decimal(event[name]) for name in (*numbers, *bought)},
        "open_time": event["open_time_us"] // 1_000,
        "timestamp": _timestamp(event["open_time_us"] // 1_000_000),
        "channel": "candles",
        **({"forming": True} if grows else {}),
    }


def _trade(event: Mapping[str, Any]) -> Message:
    return {
        **{name: event[name] for name in ("symbol", "id", "buyer_is_maker")},
        **{name: Decimal(event[name]) for name in ("price", "quantity")},
        "time": event["time_us"] // 1_000,
        "timestamp": _timestamp(event["time_us"] // 1_000_000),
        "channel": "trades",
    }


def _status(event: Mapping[str, Any]) -> Message:
    own: Message = {}
    for name, value in event.items():
        if name not in ("type", "event_us", "received_us"):
            in_ms = name.endswith("_us") and value is not None
            own[_RENAMED.get(name, name)] = value // 1_000 if in_ms else value
    return {
        **own,
        "event": event["type"],
        "time": event["received_us"] // 1_000,
        "timestamp": _timestamp(event["received_us"] // 1_000_000),
        "channel": "status",
    }


@lru_cache(maxsize=4_096)
def _timestamp(second: int) -> str:
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%d %H:%M:%S} UTC"
