"""Lets a client visit all places of a world at the same time; returns what it says of each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.clients.client_process import Seen, lines_of
from tests.clients.mirror.preparing import prepared
from tests.clients.mirror.world import World

PATIENCE_S = 90.0  # beside the seconds that a client is asked to stay


@dataclass(frozen=True)
class Visit:
    """What a client saw of each place, while the world went on.

    `answers` are the exchange's own, by whatever name the test gave them.
    """

    world: World
    seen: dict[str, Seen]
    answers: dict[str, Any] = field(default_factory=dict)

    def of(self, place: str, name: str) -> list[Any]:
        """Return what came at a place under a name, in order."""
        return self.seen.get(place, {}).get(name, [])


async def visit(
    world: World,
    environment: str,
    script: str,
    *,
    places: Sequence[str] | None = None,
    seconds: float = 0.0,
    quiet: bool = True,
    expected: str = "",
    **wishes: object,
) -> Visit:
    """Let a script of this folder, in an environment of `.venvs`, see all places or some.

    It is the one that the world began with, if that is the same, else it is started. The test fails
    when the script fails, and unless it is not `quiet` when it says anything on stderr but the line
    that is `expected`. It may take a minute and a half longer than `seconds`.
    """
    process = world.client.pop((environment, script), None)
    lines = await lines_of(
        process or await prepared(environment, script),
        said=json.dumps([asdict(world.place(name, **wishes)) for name in places or world.places]),
        patience_s=PATIENCE_S + seconds,
        quiet=quiet,
        expected=expected,
    )
    seen: dict[str, Seen] = {}
    for place, name, value in lines:
        seen.setdefault(place, {}).setdefault(name, []).append(value)
    return Visit(world, seen)
