"""What a client should have received on a connection, worked out from its requests, and judged.

Replies part a connection into stages: all of before comes before a reply, then the history that it
brings, then what is new. A reply says where in the numbering it stands, so each stage is known to
the message.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from app.market.intervals import INTERVALS_US
from tests.end_to_end.light_client import Form, Payloads, Reply
from tests.end_to_end.published import Key, Message, Published, Truth

EVERY = "*"
Wishes = frozenset[Key]
"""Keys, where the symbol may be `EVERY`."""

UNDER_WAY = 3
"""Seconds that a hub may be behind itself that takes small steps for hundreds of clients."""

BY_DEFAULT: Wishes = frozenset({("candles", EVERY, "1s")})


class FromTime(NamedTuple):
    """History by time: the newest issue of each candle from then on, ms."""

    ms: int


class LastOf(NamedTuple):
    """History by number: the last so many candles of each symbol."""

    number: int


Since = int | FromTime | LastOf
"""Which history was asked for; a number is a sequence."""


@dataclass(frozen=True)
class Asked:
    """A request, as far as it changes what comes. `channel` and so on say what leaves."""

    wishes: Wishes = frozenset()
    since: Since | None = None
    leaves: bool = False
    channel: str | None = None
    symbols: tuple[str, ...] = ()
    interval: str | None = None

    def applied(self, held: Wishes, *, by_default: bool) -> Wishes:
        """Return what is followed once it is met."""
        if not self.leaves:
            return self.wishes if by_default and self.wishes else held | self.wishes
        return frozenset(wish for wish in held if not self._is_left(wish))

    def _is_left(self, wish: Key) -> bool:
        channel, symbol, interval = wish
        return (
            self.channel in (None, "candles" if channel == "forming" else channel)
            and (not self.symbols or symbol in self.symbols)
            and self.interval in (None, interval)
        )


@dataclass
class Visit:
    """One connection of a client: what its address names, what it asked, and what came."""

    form: Form
    wishes: Wishes
    by_default: bool
    received: Sequence[bytes | Reply]
    asked: dict[int | None, Asked] = field(default_factory=dict)


@dataclass
class Stage:
    """From one reply to the next. `after` is where it begins and `until` where the next does.

    `asked` have their history from `since`, up to `after`. `None`: not told.
    """

    held: Wishes
    after: int | None = None
    asked: Wishes = frozenset()
    since: Since | None = None
    messages: list[Message] = field(default_factory=list)
    until: int | None = None

    @property
    def begins(self) -> int | None:
        """Where it begins, as far as is told; candles that grew when it began tell nothing."""
        if self.after is not None or not self.messages:
            return self.after
        grown = list(_leading_grown(self.messages))
        if len(grown) < len(self.messages):
            return int(self.messages[len(grown)]["sequence"]) - 1
        return grown[-1]

    @property
    def newest(self) -> int | None:
        """The newest sequence that came."""
        return max((message["sequence"] for message in self.messages), default=None)

    @property
    def position(self) -> int | None:
        """From where its client has to resume, when it ends here."""
        newest = self.newest
        if newest is None or (self.after is not None and newest <= self.after):
            # That history was whole is only known from what comes after it.
            return self.since if isinstance(self.since, int) else self.after
        return newest


def stages(visit: Visit, payloads: Payloads) -> list[Stage]:
    """Return the stages of a connection; an error for an answer raises `AssertionError`."""
    by_default = visit.by_default
    found = [Stage(frozenset() if None in visit.asked else visit.wishes)]
    for entry in visit.received:
        here = found[-1]
        if isinstance(entry, bytes):
            here.messages += payloads.messages(visit.form, entry)
            continue
        asked, told = visit.asked[entry.number], entry.body
        assert "result" in told, told
        position = told["result"].get("position")
        if position is None and not asked.leaves:
            continue  # it tells nothing, as of a list
        held = asked.applied(here.held, by_default=by_default and entry.number is not None)
        if asked.leaves or asked.wishes:
            by_default = by_default and (entry.number is None or (asked.leaves and bool(held)))
        if isinstance(asked.since, int):
            assert told["result"]["recovered"] is True, told
        sequence = here.newest if position is None else position["sequence"]
        here.until = None if position is None else sequence
        # Where leaving took effect is not told: after all that came before its reply.
        after = max((one for one in (here.after, sequence) if one is not None), default=None)
        found.append(Stage(held, after, asked.wishes, asked.since))
    return found


class Judge:
    """Compares what clients received with what was published.

    `verdict` counts what must not be: `missing`, `doubled`, `disordered`, `corrupted` and `unasked`
    messages, and growing candles that are `stale` in the end.
    Trades that nobody followed before begin a moment after the reply, as they have no text until
    then: none may be missing between the first that comes and the last.
    """

    def __init__(self, truth: Truth, payloads: Payloads) -> None:
        self.verdict: Counter[str] = Counter()
        self.examples: list[str] = []
        self.received: Counter[str] = Counter()
        self._truth = truth
        self._payloads = payloads
        self._tests: dict[Wishes, Callable[[Key], bool]] = {}

    def check_payloads(self) -> None:
        """Compare each different message, field for field and digit for digit."""
        for (form, _), messages in self._payloads.read.items():
            for message in messages:
                published = self._truth.by_sequence.get(message["sequence"])
                if published is None or published.message != message:
                    self._note("corrupted", f"{form}: {message}, not {published}")

    def check(self, visit: Visit, whose: str) -> None:
        """Compare one connection."""
        held: Wishes = frozenset()
        told = False
        begun: set[Key] = set()
        for stage in stages(visit, self._payloads):
            # As long as nothing came it is not told whether anything grew when it began.
            new = stage.held - (held if told else frozenset())
            held, told = stage.held, told or stage.begins is not None
            begun -= {key for key in begun if self._test(new)(key)}
            self._check(stage, new, begun, f"{whose} {visit.form}")
            for message in stage.messages:
                grows = " growing" if "forming" in message else ""
                self.received[message["channel"] + grows] += 1
            self.received[str(visit.form)] += len(stage.messages)

    def check_picture(
        self, starts: Mapping[Key, int], seen: set[int], until: int, whose: str
    ) -> None:
        """Compare all that a client has in the end with what it followed, and from where on."""
        for wish, start in starts.items():
            if wish[0] in ("candles", "status"):
                for item in self._truth.between(start, until, self._test(frozenset({wish}))):
                    if item.sequence not in seen:
                        self._note("missing", f"{whose} in the end: {item[:2]}")

    def check_growing(
        self, wishes: Wishes, messages: Iterable[Message], after: int, until: int, whose: str
    ) -> None:
        """Compare the growing candles that a client has with the newest of a stretch."""
        newest = {item.key: item for item in self._truth.between(after, until, self._test(wishes))}
        grown: dict[tuple[str, str], int] = {}
        closed: dict[tuple[str, str], int] = {}
        for message in messages:
            series = (message["symbol"], message.get("interval", ""))
            if message.get("forming"):
                grown[series] = message["sequence"]
            elif series[1]:
                closed[series] = max(message["open_time"], closed.get(series, 0))
        for (_, *rest), item in newest.items():
            series = (rest[0], rest[1])
            is_closed = closed.get(series, -1) >= item.message["open_time"]
            if not is_closed and grown.get(series, 0) < item.sequence:
                self._note("stale", f"{whose}: {item[:2]}")

    def _check(self, stage: Stage, new: Wishes, begun: set[Key], whose: str) -> None:
        got = [message["sequence"] for message in stage.messages]
        after = stage.begins
        if after is None:
            return  # nothing tells where it began
        got = self._without_grown(stage, got, new, after, whose)
        until = max(got, default=after) if stage.until is None else stage.until
        past = list(self._history(stage, after))
        wanted = [*past, *self._live(stage, after, until, begun)]
        if stage.until is None and (not got or got[-1] <= after):
            # It was cut within its history: what came must be the beginning of that.
            wanted = [one for one in past if got and one[0].sequence <= got[-1]]
        self._compare(got, wanted, whose)

    def _without_grown(
        self, stage: Stage, got: list[int], new: Wishes, after: int, whose: str
    ) -> list[int]:
        """Return what came but for candles that grew when somebody began to follow them.

        Of each the newest state comes with the history, once and in its order.
        """
        wanted = self._test(frozenset(wish for wish in new if wish[0] == "forming"))
        grown: dict[tuple[str, str], int] = {}
        for message in stage.messages:
            series = (message["symbol"], message.get("interval", ""))
            key = ("forming", *series)
            if message.get("forming") and message["sequence"] <= after and wanted(key):
                if series in grown:
                    self._note("doubled", f"{whose}: {message}")
                grown[series] = message["sequence"]
        begun = [sequence for sequence in got if sequence <= after]
        if begun != sorted(begun):
            self._note("disordered", f"{whose}: {begun}")
        apart = set(grown.values())
        return [sequence for sequence in got if sequence not in apart]

    def _live(
        self, stage: Stage, after: int, until: int, begun: set[Key]
    ) -> Iterator[tuple[Published, bool]]:
        """Yield what must come, and what may; `begun` are the trades that have come already."""
        came = {message["sequence"] for message in stage.messages}
        for item in self._truth.between(after, until, self._test(stage.held)):
            optional = item.key[0] == "forming"
            if item.key[0] == "trades":
                if item.sequence in came:
                    begun.add(item.key)
                optional = item.key not in begun
            yield item, optional

    def _history(self, stage: Stage, until: int) -> Iterator[tuple[Published, bool]]:
        since = stage.since
        if since is None:
            return
        kept = frozenset(wish for wish in stage.asked if wish[0] not in ("forming", "trades"))
        wanted = self._test(kept)
        if isinstance(since, int):
            yield from ((item, False) for item in self._truth.between(since, until, wanted))
            return
        issues = self._truth.newest(until, wanted)
        # An issue that is newer than the reply may stand for it: that one comes a moment later.
        later = self._truth.newest(until + 10**9, wanted)
        newest: dict[str, int] = {}
        for symbol, open_time in issues:
            newest[symbol] = max(open_time, newest.get(symbol, 0))
        first: dict[tuple[str, str], int] = {}
        for message in stage.messages:
            series = (message["symbol"], message.get("interval", ""))
            if message["sequence"] <= until and series[1] and not message.get("forming"):
                opened = message["open_time"]
                first[series] = min(opened, first.get(series, opened))
        found: list[tuple[Published, bool]] = []
        for (symbol, open_time), item in issues.items():
            optional = later[symbol, open_time] is not item
            if isinstance(since, FromTime):
                begins = since.ms
            else:
                step = INTERVALS_US[item.key[2]] // 1_000
                begins = newest[symbol] - (since.number - 1) * step
                # Counted from the newest that is published, of which some may be on their way yet:
                # so it may begin a little later, but from there on nothing may be missing.
                late = open_time < first.get((symbol, item.key[2]), open_time + 1)
                optional = optional or (late and open_time <= begins + UNDER_WAY * step)
            if open_time >= begins:
                found.append((item, optional))
        yield from sorted(found, key=lambda one: one[0].sequence)

    def _compare(
        self, got: Iterable[int], wanted: Sequence[tuple[Published, bool]], whose: str
    ) -> None:
        here = 0
        seen: set[int] = set()
        places = {item.sequence for item, _ in wanted}
        for sequence in got:
            if sequence in seen:
                self._note("doubled", f"{whose}: {sequence}")
                continue
            seen.add(sequence)
            if sequence not in places:
                self._note("unasked", f"{whose}: {self._truth.by_sequence.get(sequence)}")
                continue
            if here and wanted[here - 1][0].sequence > sequence:
                self._note("disordered", f"{whose}: {sequence}")
                continue
            while wanted[here][0].sequence != sequence:
                here += 1
            here += 1
        for item, optional in wanted:
            if item.sequence not in seen and not optional:
                self._note("missing", f"{whose}: {item[:2]}")

    def _test(self, wishes: Wishes) -> Callable[[Key], bool]:
        """Return a quick test whether wishes want a key."""
        test = self._tests.get(wishes)
        if test is None:
            test = self._tests[wishes] = _wanted_by(wishes)
        return test

    def _note(self, what: str, example: str) -> None:
        self.verdict[what] += 1
        if len(self.examples) < 20:
            self.examples.append(f"{what}: {example}")


def _leading_grown(messages: Iterable[Message]) -> Iterator[int]:
    """Yield the growing candles that come before all else, the first of each."""
    series: set[tuple[str, str]] = set()
    for message in messages:
        mine = (message["symbol"], message.get("interval", ""))
        if not message.get("forming") or mine in series:
            return
        series.add(mine)
        yield message["sequence"]


def _wanted_by(wishes: Wishes) -> Callable[[Key], bool]:
    known: dict[Key, bool] = {}

    def wanted(key: Key) -> bool:
        answer = known.get(key)
        if answer is None:
            channel, symbol, interval = key
            named = key in wishes or (channel, EVERY, interval) in wishes
            if not symbol:
                named = any(wish[0] == channel for wish in wishes)
            answer = known[key] = named
        return answer

    return wanted


def request_of(number: int, asked: Asked) -> dict[str, Any]:
    """Return a request as a client sends it: one subscribe, or one unsubscribe."""
    if asked.leaves:
        request: dict[str, Any] = {"op": "unsubscribe", "id": number}
        if asked.channel is not None:
            request["channel"] = asked.channel
        if asked.symbols:
            request["symbols"] = list(asked.symbols)
        if asked.interval:
            request["interval"] = asked.interval
        return request
    channels = {channel for channel, _, _ in asked.wishes}
    [interval] = {interval for _, _, interval in asked.wishes}
    symbols = sorted({symbol for _, symbol, _ in asked.wishes})
    request = {"op": "subscribe", "id": number, "symbols": symbols}
    request["channel"] = "candles" if interval else min(channels)
    if interval:
        request["interval"] = interval
    if "forming" in channels:
        request["forming"] = True
    return request
