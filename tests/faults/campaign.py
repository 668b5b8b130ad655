"""A campaign of random faults: what can happen, and what must be so in the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from random import Random

from app.feed.inbound import InboundConfig
from app.simulator.faults import LASTING, OF_A_SYMBOL, Fault, Form, Kind, RetryAs
from tests.faults.scenario import check_conduct, noticing, play, report
from tests.faults.signs import untold
from tests.simulated.judge import SimulatedHub

SYMBOLS = ("BTCUSDT", "ETHUSDT", "XRPUSDT", "ADAUSDT", "UNIUSDT", "QTUMETH")
FAULTS_PER_MINUTE = 4
LONGEST_BAN_S = 900.0  # of unknown lengths, they double each time
CALM_S = 120.0  # once all are live after the last of them
TRADES, KLINES = "*@trade", "*@kline_1s"


def check_campaign(
    data_dir: Path, *, seed: int, minutes: int, inbound: InboundConfig | None = None
) -> None:
    """Let faults happen at random moments, and judge every candle of every symbol afterwards.

    Every kind that has struck since the hub was killed last must show in what it tells.
    """
    random = Random(seed)
    moments_s = sorted(random.uniform(0, 60 * minutes) for _ in range(FAULTS_PER_MINUTE * minutes))

    async def main(hub: SimulatedHub) -> None:
        struck_before, life = Counter[str](), hub.core
        with noticing(hub) as notices:
            for before_s, at_s in pairwise([0.0, *moments_s]):
                await hub.pass_time(at_s - before_s)
                what = await something_happens(hub, random, kills=seed % 2 == 0)
                report(f"{at_s:.1f} s: {what}")
                if hub.core is not life:
                    notices.begin_life()
                    struck_before, life = struck(hub), hub.core
            await hub.until_live(within_s=LONGEST_BAN_S)
            await hub.pass_time(CALM_S)
            unseen = untold(notices, struck(hub) - struck_before)
            assert not unseen, unseen
        lies = struck(hub)[Kind.TRADE_WRONG]
        for symbol in SYMBOLS:
            verdict = hub.judge(symbol)
            said = f"{symbol}: {verdict}"
            assert verdict.complete == verdict.seconds > 60 * minutes, said
            assert verdict.duplicates == 0, said
            assert verdict.untrue <= lies, said
        check_conduct(hub)

    play(SYMBOLS, data_dir, main, seed=seed, real_seconds=200, inbound=inbound)


def struck(hub: SimulatedHub) -> Counter[str]:
    """Return how often each kind of fault has struck."""
    return Counter(hub.exchange.status()["faults"]["struck"])


async def something_happens(hub: SimulatedHub, random: Random, *, kills: bool) -> str:
    """Let one thing go wrong, at the exchange mostly; say what.

    Either the hub is killed or its clock is set: a ban is kept as a time of day.
    """
    of_us: list[tuple[str, Callable[[], None]]] = [
        ("the network is interrupted", lambda: hub.network.interrupt(random.uniform(1, 30))),
        ("nobody is there", lambda: gone(hub, random.uniform(1, 40))),
        ("the clock drifts", lambda: hub.clock.drift(random.uniform(-500, 500))),
        ("the machine sleeps", lambda: hub.clock.suspend(random.uniform(1, 60))),
    ]
    chance = random.random()
    if chance < 0.15:
        what, happens = random.choice(of_us)
        happens()
        return what
    if chance < 0.25 and not kills:
        hub.clock.step_wall(random.uniform(-3_600, 3_600))
        return "the clock is set"
    if chance < 0.25:
        gap_s = random.uniform(0, 10)
        await hub.kill_hub()
        await hub.pass_time(gap_s)
        await hub.start_hub()
        return f"killed for {gap_s:.1f} s"
    fault = a_fault(random)
    hub.strike(fault)
    used = (fault.kind, fault.symbol, fault.stream, fault.duration, fault.count, fault.status)
    return " ".join(str(each) for each in used if each is not None)


def gone(hub: SimulatedHub, seconds: float) -> None:
    """Let the exchange be gone."""
    hub.network.refuse(seconds)
    hub.strike(Fault(kind=Kind.RESET))


def a_fault(random: Random) -> Fault:
    """Return any fault of the exchange after which the truth can still be had from it."""
    kind = random.choice(KINDS)
    symbol = random.choice([*SYMBOLS, None, None])
    if kind in OF_A_SYMBOL:
        symbol = random.choice(SYMBOLS)
    return Fault(
        kind=kind,
        symbol=symbol,
        stream=random.choice([TRADES, KLINES, None]) if kind in OF_STREAMS and not symbol else None,
        duration=round(random.uniform(1, 20), 1),
        count=random.randint(1, 5) if kind in COUNTED or random.random() < 0.3 else None,
        probability=random.uniform(0.1, 1.0) if kind in LASTING else 1.0,
        delay=random.choice([0.1, 0.5, 2.0, 8.0]),
        lead=random.uniform(0, 30),
        code=random.choice([1000, 1001, 1012]),
        form=random.choice(FORMS),
        status=random.choice([429, 418, 451, 403, 500]),
        retry_after=random.choice([None, 1, 15]),
        retry_as=random.choice(list(RetryAs)),
    )


COUNTED = frozenset({Kind.GARBAGE, Kind.BAD_TRADE, Kind.TRADE_WRONG, Kind.KLINE_WRONG})
OF_STREAMS = frozenset({Kind.CUT, Kind.STALL, Kind.DROP, Kind.DUPLICATE, Kind.DELAY, Kind.REORDER})
# After ids have begun anew, or the exchange has lied on both sides, no truth can be had.
KINDS = [kind for kind in Kind if kind not in (Kind.ID_RESET, Kind.SYMBOL_STATUS)]
FORMS = [form for form in Form if form is not Form.HUGE]
