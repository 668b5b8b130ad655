"""Whether symbols may be followed now, and which error says why not. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from app.errors import SymbolNotActive, SymbolsNotLoaded, UnknownSymbol
from app.gateways.broadcaster import ANY_SYMBOL
from app.ports import SymbolRegistry


def check_symbols(symbols: Sequence[str], registry: SymbolRegistry) -> None:
    """Accept symbols that are all active; else raise for the first that is not.

    `SymbolNotActive` when the exchange lists it, `UnknownSymbol` when not, `SymbolsNotLoaded` while
    that is not known. `ANY_SYMBOL` is always there.
    """
    active = set(registry.active())
    missing = next((one for one in symbols if one != ANY_SYMBOL and one not in active), None)
    if missing is None:
        return
    available = registry.available()
    if available is None:
        raise SymbolsNotLoaded(missing, registry.list_problem)
    raise SymbolNotActive(missing) if missing in available else UnknownSymbol(missing)
