"""Clients that come and go as real ones do: each an owner of wishes, a position and a picture."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from random import Random
from urllib.parse import urlencode

from app.gateways.live.upgrade import SUBPROTOCOLS
from tests.end_to_end.delivery import (
    BY_DEFAULT,
    EVERY,
    Asked,
    FromTime,
    Judge,
    LastOf,
    Since,
    Visit,
    Wishes,
    request_of,
    stages,
)
from tests.end_to_end.light_client import WITHIN_S, Connection, Form, Gone, Payloads
from tests.end_to_end.published import Key

FORMS = [
    Form(name, batch, deflated)
    for name, batch, deflated in product(SUBPROTOCOLS, (False, True), (False, True))
]
INTERVALS = ("1s", "1s", "1s", "1m", "3m")
SETTLED = 0  # the id of the request after which all history of a resumption is there
SMALL_RECEIVE_BUFFER = 2_304


@dataclass
class Surroundings:
    """What all clients of a test share. `epoch` is that of the one hub."""

    address: str
    symbols: Sequence[str]
    payloads: Payloads = field(default_factory=Payloads)
    codes: Counter[int] = field(default_factory=Counter)
    refused: Counter[int] = field(default_factory=Counter)
    epoch: int = 0


class Client:
    """One client. It remembers its wishes and its position, and resumes where it was.

    `starts` say from which sequence on it must have all of a wish. A sleeper follows everything,
    and reads nothing for `stall_s` at a time until it is closed for that once.
    """

    def __init__(
        self,
        number: int,
        random: Random,
        around: Surroundings,
        *,
        stall_s: float | None = None,
    ) -> None:
        self.name = f"client {number}"
        self.visits: list[Visit] = []
        self.codes: list[int] = []
        self.starts: dict[Key, int] = {}
        self.ended_at = 0
        self.settled_at = 0
        self._form = FORMS[0 if stall_s is not None else number % len(FORMS)]
        self._random = random
        self._around = around
        self._sleeps_s = stall_s
        self._stalls = stall_s is not None or random.random() < 0.3
        self._held: Wishes = frozenset()
        self._position: int | None = None
        self._numbers = SETTLED
        self._connection: Connection | None = None

    async def live(self, until_s: float) -> None:
        """Come and go until a moment of the loop's clock; then get all that was published by then.

        The picture ends at `ended_at`.
        """
        now = asyncio.get_running_loop().time
        await asyncio.sleep(self._random.uniform(0, 2))
        while now() < until_s or self._has_to_sleep:
            await self._once(until_s)
            if self._sleeps_s is None and self._random.random() < 0.1:
                self._held, self._position, self.starts = frozenset(), None, {}
            await asyncio.sleep(self._random.uniform(0.02, 1.0))
        while not self.ended_at:
            await self._once(None)
            await asyncio.sleep(self._random.uniform(0.02, 0.3))

    @property
    def _has_to_sleep(self) -> bool:
        return self._sleeps_s is not None and 4008 not in self.codes

    def judge(self, judge: Judge) -> None:
        """Have everything that came judged."""
        seen: set[int] = set()
        for number, visit in enumerate(self.visits):
            judge.check(visit, f"{self.name} visit {number}")
            for stage in stages(visit, self._around.payloads):
                seen.update(message["sequence"] for message in stage.messages)
        judge.check_picture(self.starts, seen, self.ended_at, self.name)
        grown = frozenset(wish for wish in self._held if wish[0] == "forming")
        passed = stages(self.visits[-1], self._around.payloads)
        messages = [message for stage in passed for message in stage.messages]
        begun = passed[-3].after or (messages[0]["sequence"] if messages else self.settled_at)
        judge.check_growing(grown, messages, begun, self.settled_at, self.name)

    # -- one connection ----------------------------------------------------------------------

    async def _once(self, until_s: float | None) -> None:
        """Connect, stay for a while or, without `until_s`, until all is there; and remember."""
        plan, visit, query = self._prepared()
        small = SMALL_RECEIVE_BUFFER if self._stalls else None
        address = f"{self._around.address}?{query}"
        try:
            connection = await Connection.open(
                address, self._form, self._around.payloads, receive_buffer=small
            )
        except Gone as gone:
            self._around.refused[gone.args[0]] += 1
            return
        self._connection = connection
        visit.received = connection.received
        self.visits.append(visit)
        try:
            for asked in plan:
                self._ask(visit, asked)
            if plan:
                await self._settle(visit)
            if until_s is None:
                await self._finish(visit)
            else:
                await self._stay(visit, until_s)
        except Gone:
            pass
        finally:
            connection.cut()
            self.codes.append(await connection.end())
            self._around.codes[self.codes[-1]] += 1
            self._remember(visit, plan)

    def _prepared(self) -> tuple[list[Asked], Visit, str]:
        """Return what to ask first, and the connection to make for it."""
        if not self._held:
            self._held, self._position = self._first_wishes(), None
            self.starts = {}
        since = self._position
        resumed = f"{self._around.epoch}-{since}" if since is not None else None
        query = {"batch": "true"} if self._form.batch else {}
        visit = Visit(self._form, self._held, by_default=False, received=())
        named = self._in_address()
        if named is not None and self._random.random() < 0.6:
            visit.by_default = not named
            query |= named | ({"since": resumed} if resumed else {})
            if resumed:
                visit.asked[None] = Asked(self._held, since)
            return [], visit, urlencode(query)
        visit.wishes = frozenset()
        return self._plan(since), visit, urlencode(query | {"symbols": ""})

    def _first_wishes(self) -> Wishes:
        if self._sleeps_s is not None:
            return frozenset({*BY_DEFAULT, ("status", EVERY, ""), ("trades", EVERY, "")})
        if self._random.random() < 0.1:
            return BY_DEFAULT
        return self._some_wishes()

    def _some_wishes(self) -> Wishes:
        """Return what one request may name."""
        random = self._random
        channel = random.choices(("candles", "trades", "status"), (8, 1, 1))[0]
        interval = random.choice(INTERVALS) if channel == "candles" else ""
        symbols = random.sample(self._around.symbols, random.randint(1, 5))
        if random.random() < 0.05:
            symbols = [EVERY]
        wishes = {(channel, symbol, interval) for symbol in symbols}
        if channel == "candles" and random.random() < 0.3:
            wishes |= {("forming", symbol, interval) for symbol in symbols}
        return frozenset(wishes)

    def _in_address(self) -> dict[str, str] | None:
        """Return the parameters that name its wishes, empty for the default; `None`: none do."""
        if self._held == BY_DEFAULT:
            return {}
        channels = {channel for channel, _, _ in self._held}
        symbols = {symbol for _, symbol, _ in self._held}
        intervals = {interval for _, _, interval in self._held if interval}
        named = {
            (channel, symbol, interval)
            for channel in channels
            for symbol in symbols
            for interval in (intervals if channel in ("candles", "forming") else {""})
        }
        if named != self._held or "trades" in channels or (EVERY in symbols and len(symbols) > 1):
            return None
        if "status" in channels and intervals:
            return None  # an interval is for all channels of an address
        if "forming" in channels and channels != {"candles", "forming"}:
            return None
        found = {"symbols": ",".join(sorted(symbols))}
        found["channels"] = ",".join(sorted(channels - {"forming"}))
        if intervals:
            found["interval"] = ",".join(sorted(intervals))
        if "forming" in channels:
            found["forming"] = "true"
        return found

    def _plan(self, since: int | None) -> list[Asked]:
        """Return the requests that bring all its wishes."""
        groups: dict[tuple[str, str, bool, bool], set[Key]] = {}
        for wish in sorted(self._held):
            channel, symbol, interval = wish
            grown = ("forming", symbol, interval)
            if channel != "forming":
                kind = (channel, interval, symbol == EVERY, grown in self._held)
                groups.setdefault(kind, set()).add(wish)
                if grown in self._held:
                    groups[kind].add(grown)
        return [
            Asked(frozenset(wishes), None if kind[0] == "trades" else since)
            for kind, wishes in groups.items()
        ]

    def _remember(self, visit: Visit, plan: Sequence[Asked]) -> None:
        """Work out what it follows now, from where on, and where it is."""
        passed = stages(visit, self._around.payloads)
        resumed = visit.asked.get(None, Asked()).since is not None or any(
            asked.since is not None for asked in plan
        )
        starts = dict(self.starts) if resumed else {}
        before: Wishes = frozenset()
        for stage in passed:
            begins = stage.begins
            for wish in stage.held - before:
                if begins is not None and not (isinstance(stage.since, int) and wish in starts):
                    starts[wish] = begins
            before = stage.held
        unmet = frozenset[Key]().union(
            *(asked.wishes for number, asked in visit.asked.items() if self._is_unmet(number, plan))
        )
        if unmet:
            # Cut before all was said: the whole resumption is done again.
            self._held = self._held | before
            position = passed[-1].position if not resumed else self._position
            self._position = position
        else:
            self._held = before
            self._position = passed[-1].position
        self.starts = {wish: at for wish, at in starts.items() if wish in self._held}

    def _is_unmet(self, number: int | None, plan: Sequence[Asked]) -> bool:
        connection = self._connection
        assert connection is not None
        return number not in connection.replies and (
            number is None or self.visits[-1].asked[number] in plan
        )

    # -- what it does meanwhile --------------------------------------------------------------

    async def _stay(self, visit: Visit, until_s: float) -> None:
        connection, random = self._connection, self._random
        assert connection is not None
        now = asyncio.get_running_loop().time
        if self._sleeps_s is not None and self._has_to_sleep:
            # Asleep for long enough to be closed, awake before the hub gives up to tell it so.
            while connection.code is None:
                connection.pause()
                await asyncio.sleep(self._sleeps_s * random.uniform(0.8, 1.2))
                connection.resume()
                await asyncio.sleep(0.5)
            return
        while now() < until_s:
            await asyncio.sleep(min(random.uniform(0.1, 2.0), max(0.0, until_s - now())))
            if connection.code is not None:
                return
            chance = random.random()
            if chance < 0.35:
                await self._done(visit, Asked(self._some_wishes(), self._some_history(visit)))
            elif chance < 0.5:
                await self._leave_some(visit)
            elif chance < 0.65:
                self._numbers += 1
                visit.asked[self._numbers] = Asked()
                connection.ask(op=random.choice(("list", "ping")), id=self._numbers)
            elif chance < 0.75 and self._stalls:
                connection.pause()
                await asyncio.sleep(random.uniform(0.1, 4.0))
                connection.resume()
            elif chance < 0.85:
                connection.cut()
                return
            elif chance < 0.9:
                await connection.say_goodbye()
                return

    def _some_history(self, visit: Visit) -> Since | None:
        chance = self._random.random()
        if chance < 0.7:
            return None
        for entry in reversed(visit.received):
            if isinstance(entry, bytes):
                message = self._around.payloads.messages(self._form, entry)[-1]
                if message["channel"] != "candles":
                    return None
                if chance < 0.85:
                    return FromTime(message["open_time"] - self._random.randint(0, 20_000))
                return LastOf(self._random.randint(1, 20))
        return None

    async def _leave_some(self, visit: Visit) -> None:
        random = self._random
        held = sorted(stages(visit, self._around.payloads)[-1].held)
        if not held:
            return
        if random.random() < 0.1:
            await self._done(visit, Asked(leaves=True))
            return
        channel, symbol, interval = random.choice(held)
        channel = "candles" if channel == "forming" else channel
        symbols = (symbol,) if random.random() < 0.8 else ()
        only = interval if interval and random.random() < 0.8 else None
        asked = Asked(leaves=True, channel=channel, symbols=symbols, interval=only)
        await self._done(visit, asked)

    async def _finish(self, visit: Visit) -> None:
        """Learn where the hub is, a moment apart: all up to there has come then."""
        await asyncio.sleep(1.2)
        self.settled_at = await self._barrier(visit)
        await asyncio.sleep(1.2)
        self.ended_at = await self._barrier(visit)

    async def _barrier(self, visit: Visit) -> int:
        wish = next(wish for wish in sorted(self._held) if wish[0] != "forming")
        told = await self._done(visit, Asked(frozenset({wish})))
        return int(told["result"]["position"]["sequence"])

    async def _settle(self, visit: Visit) -> None:
        connection = self._connection
        assert connection is not None
        self._numbers += 1
        visit.asked[self._numbers] = Asked()
        connection.ask(op="ping", id=self._numbers)
        await connection.reply(self._numbers)

    async def _done(self, visit: Visit, asked: Asked) -> dict[str, dict[str, dict[str, int]]]:
        """Ask, and wait for the answer."""
        connection = self._connection
        assert connection is not None
        number = self._ask(visit, asked)
        return (await connection.reply(number)).body

    def _ask(self, visit: Visit, asked: Asked) -> int:
        connection = self._connection
        assert connection is not None
        if any(channel in ("trades", "status") for channel, _, _ in asked.wishes) and not (
            isinstance(asked.since, int)
        ):
            asked = Asked(asked.wishes)
        self._numbers += 1
        visit.asked[self._numbers] = asked
        request = request_of(self._numbers, asked)
        match asked.since:
            case int(sequence):
                request["since"] = {"epoch": self._around.epoch, "sequence": sequence}
            case FromTime(ms):
                request["since"] = ms
            case LastOf(number):
                request["last"] = number
        connection.ask(**request)
        return self._numbers


async def churn(clients: Sequence[Client], seconds: float) -> None:
    """Let them all live for so long."""
    until_s = asyncio.get_running_loop().time() + seconds
    async with asyncio.timeout(seconds + 3 * WITHIN_S), asyncio.TaskGroup() as tasks:
        for client in clients:
            tasks.create_task(client.live(until_s))
