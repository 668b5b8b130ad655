"""Trade frames as the exchange sends them, as many as wanted: recorded ones, looped, or made up.

Looped, ids go on without a gap and times without a step back, so that whoever checks them has the
work that a real stream gives, candles included.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import NamedTuple

SYMBOL = "BTCUSDT"
RECORDING = "spot_btcusdt_20240808.gz"


class TradeText(NamedTuple):
    """A trade in the exchange's own text. Times are milliseconds."""

    id: int
    price: str
    quantity: str
    time: int
    event_time: int
    maker: bool


def recorded(folder: Path) -> list[TradeText]:
    """Return the recorded trades, in their order; none when the recording is not there."""
    path = folder / RECORDING
    if not path.is_file():
        return []
    trades = []
    with gzip.open(path) as lines:
        for line in lines:
            if b"@trade" not in line[:60]:
                continue
            data = json.loads(line.split(b" ", 1)[1])["data"]
            trades.append(
                TradeText(data["t"], data["p"], data["q"], data["T"], data["E"], data["m"])
            )
    return trades


def made_up(number: int = 10_000, *, per_second: int = 28, seed: int = 7) -> list[TradeText]:
    """Return seeded trades of about the density and the digits of the recording."""
    chance = random.Random(seed)
    time, cents = 1_723_161_255_000, 6_183_763
    trades = []
    for trade_id in range(3_735_683_259, 3_735_683_259 + number):
        time += int(chance.expovariate(per_second / 1000))
        cents += chance.randint(-20, 20)
        price = f"{cents // 100}.{cents % 100:02}000000"
        quantity = f"0.{chance.randint(1, 99_999):05}000"
        trades.append(TradeText(trade_id, price, quantity, time, time + 1, chance.random() < 0.5))
    return trades


def looped(trades: list[TradeText], number: int) -> Iterator[TradeText]:
    """Repeat `trades` until there are `number`, each round later in id and time by one length."""
    ids = trades[-1].id + 1 - trades[0].id
    span = (trades[-1].time - trades[0].time) // 1000 * 1000 + 1000
    left = number
    for lap in count():
        for trade in trades[:left]:
            yield trade._replace(
                id=trade.id + lap * ids,
                time=trade.time + lap * span,
                event_time=trade.event_time + lap * span,
            )
        left -= len(trades)
        if left <= 0:
            return


def payload(trade: TradeText) -> bytes:
    """Return a `trade` payload."""
    return (
        f'{{"e":"trade","E":{trade.event_time},"s":"{SYMBOL}","t":{trade.id},"p":"{trade.price}",'
        f'"q":"{trade.quantity}","T":{trade.time},"m":{json.dumps(trade.maker)},"M":true}}'
    ).encode()


def aggregate_payload(trade: TradeText) -> bytes:
    """Return the same trade as an aggregate of one."""
    return (
        f'{{"e":"aggTrade","E":{trade.event_time},"s":"{SYMBOL}","a":{trade.id},"p":"{trade.price}",'
        f'"q":"{trade.quantity}","f":{trade.id},"l":{trade.id},"T":{trade.time},'
        f'"m":{json.dumps(trade.maker)},"M":true}}'
    ).encode()


def enveloped(stream: str, data: bytes) -> bytes:
    """Return the combined form of a payload."""
    return b'{"stream":"%b@%b","data":%b}' % (SYMBOL.lower().encode(), stream.encode(), data)


def framed(data: bytes) -> bytes:
    """Return one text frame of fewer than 65,536 bytes, as a server sends it."""
    size = len(data)
    head = bytes([0x81, size]) if size < 126 else b"\x81\x7e" + size.to_bytes(2, "big")
    return head + data


def write_blocks(folder: Path, trades: list[TradeText]) -> None:
    """Write what the sender serves into `folder`."""
    blocks = {
        "combined": (framed(enveloped("trade", payload(trade))) for trade in trades),
        "raw": (framed(payload(trade)) for trade in trades),
        "aggregates": (framed(enveloped("aggTrade", aggregate_payload(trade))) for trade in trades),
    }
    for name, frames in blocks.items():
        (folder / f"{name}.frames").write_bytes(b"".join(frames))
    (folder / "exchangeInfo.json").write_text(json.dumps(_EXCHANGE_INFO), encoding="utf-8")


_EXCHANGE_INFO = {
    "timezone": "UTC",
    "serverTime": 1_723_161_255_000,
    "rateLimits": [],
    "exchangeFilters": [],
    "symbols": [
        {
            "symbol": SYMBOL,
            "status": "TRADING",
            "baseAsset": "BTC",
            "baseAssetPrecision": 8,
            "quoteAsset": "USDT",
            "quotePrecision": 8,
            "quoteAssetPrecision": 8,
            "orderTypes": ["LIMIT", "MARKET"],
            "isSpotTradingAllowed": True,
            "isMarginTradingAllowed": False,
            "filters": [
                {
                    "filterType": "PRICE_FILTER",
                    "minPrice": "0.01000000",
                    "maxPrice": "1000000.00000000",
                    "tickSize": "0.01000000",
                },
                {
                    "filterType": "LOT_SIZE",
                    "minQty": "0.00001000",
                    "maxQty": "9000.00000000",
                    "stepSize": "0.00001000",
                },
            ],
            "permissions": [],
            "permissionSets": [["SPOT"]],
        }
    ],
}
