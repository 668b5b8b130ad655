"""How far one symbol's candles have come: what must be known to go on after a restart."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from app.market.ledger import Hole


class Position(msgspec.Struct, frozen=True, gc=False):
    """Everything up to the end of `second_us` is proved, except what `holes` name.

    `last_id` is the last trade id up to then, `close` the price of that trade: what an empty second
    behind it carries.
    """

    second_us: int
    last_id: int
    close: Decimal
    holes: tuple[Hole, ...] = ()
