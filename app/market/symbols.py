"""What a symbol is: its name, its status, and how many digits its numbers have."""

from __future__ import annotations

import re
from decimal import Decimal

import msgspec

from app.errors import InvalidSymbol

TRADING = "TRADING"

# The exchange's legal range (2025-12): word characters of any script, '-' and '.', no lower case.
_SYMBOL = re.compile(r"[\w.\-]{1,50}")


class SymbolInfo(msgspec.Struct, frozen=True, gc=False):
    """One symbol as the exchange lists it.

    `tick_size` and `step_size` are the smallest steps of price and quantity; `None` means unknown
    or unrestricted.
    """

    symbol: str
    status: str
    base_asset: str
    quote_asset: str
    tick_size: Decimal | None = None
    step_size: Decimal | None = None

    @property
    def trading(self) -> bool:
        """Whether the exchange trades it now."""
        return self.status == TRADING

    @property
    def price_digits(self) -> int | None:
        """Digits after the point in its prices; `None` when unknown."""
        return digits_of(self.tick_size)

    @property
    def quantity_digits(self) -> int | None:
        """Digits after the point in its quantities; `None` when unknown."""
        return digits_of(self.step_size)


def digits_of(step: Decimal | None) -> int | None:
    """Digits after the point that a step needs: `0.01000000` needs 2, `1` needs 0."""
    if step is None or step <= 0:
        return None
    exponent = step.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else None


def parse_symbol(text: str) -> str:
    """Return `text` as a symbol in upper case; raise `InvalidSymbol` when it cannot be one.

    Whether the exchange lists it is another question: see `SymbolRegistry`.
    """
    symbol = text.upper()  # may be longer than `text`, or end in a mark of its own
    if not _SYMBOL.fullmatch(symbol):
        raise InvalidSymbol(text)
    return symbol
