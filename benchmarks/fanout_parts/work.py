"""The candles of one run, and the folder from which every program of it reads them.

`texts.bin` has the JSON text of each candle by round and symbol, `frames.bin` the same deflated and
framed (for the bare loop), `plan.txt` who wants what (see `loadgen.c`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import msgspec

from app.market.codec import JsonCodec
from app.market.events import NO_TRADE_ID, SECOND_US, Candle, Publication
from app.market.symbols import SymbolInfo
from app.ports import CANDLES
from app.sockets.frames import deflated_frame
from benchmarks.fanout_parts.payloads import write_payloads

SOURCE = "binance"
EPOCH = 1_732_000_000_000
_KNOWN = ("BTC", "ETH", "BNB", "SOL", "XRP", "DOGE", "ADA", "AVAX", "LINK", "LTC")
_BUSY = 20  # the first so many symbols trade in every second


class Work(msgspec.Struct, frozen=True):
    """What is published: rounds of one candle for each of so many symbols, from `start_s` on."""

    symbols: int
    rounds: int
    start_s: int

    @property
    def names(self) -> list[str]:
        """The symbols, in the order in which they are published."""
        more = (f"C{number:03}" for number in range(len(_KNOWN), self.symbols))
        return [f"{base}USDT" for base in (*_KNOWN, *more)][: self.symbols]


def symbol_info(symbol: str) -> SymbolInfo:
    """Return what the exchange would list of a symbol."""
    base = symbol.removesuffix("USDT")
    # The text has at least so many digits, and every one that a number has.
    tick, step = Decimal("0.01"), Decimal("0.1")
    return SymbolInfo(symbol, "TRADING", base, "USDT", tick, step)


def codec() -> JsonCodec:
    """Return the codec that all texts are made with."""
    return JsonCodec(ZoneInfo("Asia/Kolkata"), SOURCE, symbol_info)


def candles(work: Work) -> Iterator[list[Candle]]:
    """Yield each round's candles: a random walk per symbol, always the same for the same work.

    As on the exchange, few symbols trade all the time: of 200, a good part of the seconds is empty.
    """
    random = Random(7)
    walks = {name: _Walk(rank, name, random) for rank, name in enumerate(work.names)}
    for number in range(work.rounds):
        yield [walks[name].next((work.start_s + number) * SECOND_US) for name in work.names]


def texts(work: Work) -> list[list[bytes]]:
    """Return the JSON texts by round and symbol, numbered as a bus would that has nothing else."""
    write = codec()
    sequence = 0
    rounds = []
    for each in candles(work):
        made = []
        for candle in each:
            sequence += 1
            made.append(write.candle(Publication(EPOCH, sequence, CANDLES, candle), candle))
        rounds.append(made)
    return rounds


def write_folder(folder: Path, work: Work, plan: Sequence[tuple[str, Sequence[int]]]) -> None:
    """Write everything that the programs read; `plan` has targets, and numbers of symbols."""
    rounds = texts(work)
    write_payloads(folder / "texts.bin", rounds)
    write_payloads(
        folder / "frames.bin", [[deflated_frame(text) for text in each] for each in rounds]
    )
    lines = [",".join(work.names)]
    lines += [f"{target}\t{','.join(map(str, wanted))}" for target, wanted in plan]
    (folder / "plan.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "work.json").write_bytes(msgspec.json.encode(work))


def read_work(folder: Path) -> Work:
    """Return the work of a folder."""
    return msgspec.json.decode((folder / "work.json").read_bytes(), type=Work)


class _Walk:
    """One symbol's market.

    The last digit of a number is never 0: who reads texts as floating point numbers and writes them
    again, as a peer does, gets the same text.
    """

    def __init__(self, rank: int, symbol: str, random: Random) -> None:
        self._symbol = symbol
        self._random = random
        self._busy = rank < _BUSY
        self._trades_a_second = 25 / (1 + rank / 5)
        price = 10 ** random.uniform(0.5, 4.8)
        self._digits = _digits(price)
        self._typical = 500 / price  # quantity of a trade
        self._price = _number(price, self._digits[0])
        self._id = random.randrange(10**8, 10**9)

    def next(self, open_time_us: int) -> Candle:
        """Return the next second's candle."""
        random = self._random
        trades = _happenings(self._trades_a_second, random)
        if self._busy:
            trades = max(2, trades)
        prices = [self._moved() for _ in range(min(trades, 8))] or [self._price]
        volume = taken = Decimal(0)
        if trades:
            volume = self._quantity(trades * self._typical * random.expovariate(1))
            share = random.uniform(0.1, 0.9) if trades > 1 else random.randrange(2)
            taken = self._quantity(float(volume) * share) if share % 1 else volume * round(share)
        self._price = prices[-1]
        self._id += trades
        return Candle(
            source=SOURCE,
            symbol=self._symbol,
            interval="1s",
            open_time_us=open_time_us,
            open=prices[0],
            high=max(prices),
            low=min(prices),
            close=prices[-1],
            volume=volume,
            quote_volume=self._turnover(volume),
            trades=trades,
            taker_buy_volume=taken,
            taker_buy_quote_volume=self._turnover(taken),
            first_trade_id=self._id - trades if trades else NO_TRADE_ID,
            last_trade_id=self._id - 1 if trades else NO_TRADE_ID,
            complete=True,
            revision=0,
            event_us=open_time_us + SECOND_US,
            received_us=open_time_us + SECOND_US,
        )

    def _moved(self) -> Decimal:
        return _number(float(self._price) * (1 + self._random.gauss(0, 0.0001)), self._digits[0])

    def _quantity(self, number: float) -> Decimal:
        return _number(number, self._digits[1])

    def _turnover(self, volume: Decimal) -> Decimal:
        return _number(float(volume * self._price), sum(self._digits)) if volume else volume


def _digits(price: float) -> tuple[int, int]:
    """Return the digits of prices and quantities that go with a price."""
    if price >= 1000:
        return 2, 5
    return (2, 3) if price >= 50 else (4, 1)


def _happenings(expected: float, random: Random) -> int:
    """Return how many independent things happen where so many are expected."""
    happened = 0
    waited = random.expovariate(1)
    while waited < expected:
        happened += 1
        waited += random.expovariate(1)
    return happened


def _number(number: float, digits: int) -> Decimal:
    """Return a number as the exchange writes it: eight decimals, of which so many count."""
    text = f"{number:.{digits}f}"
    if text.endswith("0"):
        text = text[:-1] + "1"
    return Decimal(text + "0" * (8 - digits))
