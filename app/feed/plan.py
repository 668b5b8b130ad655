"""Which source the settings mean, and the one look around that `auto` allows itself at start-up."""

from __future__ import annotations

import asyncio
import logging
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from app.errors import InvalidSetting, RateLimited, StateUnreadable
from app.feed.probe import why_unreachable
from app.feed.source import (
    BINANCE,
    HUB_SCHEMES,
    KNOWN,
    Source,
    source_of_hub,
    with_addresses,
)
from app.feed.state import KeptState, kept_ban
from app.ports import Clock

log = logging.getLogger(__name__)

AUTO = "auto"
SIMULATED = "simulated"
REPLAY = "replay:"
EXPECTED = "binance, testnet, binance-us, simulated, replay:FILE, grpc://HOST:PORT or auto"


@dataclass(frozen=True)
class SourcePlan:
    """Where the data is to come from.

    `source` is an exchange or another hub; without one the embedded simulator serves, `replay` if
    there are files, else the seeded market. `probe` says that `source` is only taken if it can be
    reached. `fallback_reason` says why it was not.
    """

    source: Source | None
    probe: bool = False
    replay: tuple[Path, ...] = ()
    fallback_reason: str | None = None


def plan_source(
    market_source: str,
    *,
    rest_url: str | None = None,
    stream_url: str | None = None,
    symbols_url: str | None = None,
) -> SourcePlan:
    """Read the source from its settings; raise `InvalidSetting`."""
    text = market_source.strip()
    kind = text.lower()
    # Addresses are checked even where another source is asked for: a slip in them is a slip.
    source = with_addresses(
        KNOWN.get(kind, BINANCE),
        rest_url=rest_url,
        stream_url=stream_url,
        symbols_url=symbols_url,
    )
    if kind.startswith(REPLAY):
        return SourcePlan(None, replay=_replay_files(text))
    if kind == SIMULATED:
        return SourcePlan(None)
    if kind.partition("://")[0] in HUB_SCHEMES:
        return SourcePlan(source_of_hub(kind))
    if kind != AUTO and kind not in KNOWN:
        raise InvalidSetting(key="MARKET_SOURCE", value=text, expected=EXPECTED)
    # Whoever names a stream address has chosen; only a hub that was told nothing looks around.
    return SourcePlan(source, probe=kind == AUTO and stream_url is None)


async def settle(plan: SourcePlan, *, clock: Clock, data_dir: Path) -> SourcePlan:
    """Return `plan` with nothing left open: an exchange out of reach gives way to the simulator.

    Neither is it asked during a ban that was kept in `data_dir`, and one that it tells is kept.
    """
    if plan.source is None or not plan.probe:
        return plan
    folder = data_dir / plan.source.folder
    reason = await asyncio.to_thread(_why_banned, folder, clock.now_us())
    if reason is None:
        met: list[RateLimited] = []
        reason = await why_unreachable(plan.source, clock=clock, limited=met.append)
        for error in met:
            until_us = clock.now_us() + round(error.retry_after * 1e6)
            await asyncio.to_thread(_keep_ban, folder, until_us, error.what)
    if reason is None:
        return replace(plan, probe=False)
    return SourcePlan(None, fallback_reason=reason)


def _why_banned(folder: Path, now_us: int) -> str | None:
    try:
        ban = kept_ban(folder)
    except StateUnreadable:
        return None  # whoever opens it to work with it says so
    if ban is None or ban.until_us <= now_us:
        return None
    return f"{ban.reason}: next call in {(ban.until_us - now_us) / 1e6:.0f} s at the earliest"


def _keep_ban(folder: Path, until_us: int, reason: str) -> None:
    try:
        with closing(KeptState(folder)) as state:
            state.keep_ban(until_us, reason)
    except StateUnreadable as error:
        log.warning("ban not kept reason=%s", error)


def _replay_files(text: str) -> tuple[Path, ...]:
    files = tuple(Path(part.strip()) for part in text[len(REPLAY) :].split(",") if part.strip())
    for path in files:
        if not path.is_file():
            raise InvalidSetting(
                key="MARKET_SOURCE", value=text, expected=f"a file at {path}; there is none"
            )
    if not files:
        raise InvalidSetting(key="MARKET_SOURCE", value=text, expected="replay:FILE")
    return files
