"""Messages of the channel `book` as JSON text, written out plainly."""

from __future__ import annotations

from collections.abc import Sequence

LevelTexts = Sequence[tuple[str, str]]

BIDS = (("43250.50", "1.25000"), ("43250.49", "0.00120"), ("43248.00", "12.00000"))
ASKS = (("43250.51", "0.75000"), ("43251.00", "3.10000"))


def book_text(
    *,
    symbol: str = "BTCUSDT",
    bids: LevelTexts = BIDS,
    asks: LevelTexts = ASKS,
    depth: int = 20,
    every: int = 100,
    number: int = 1_207,
    previous: int | None = None,
    update_id: int = 52_981_348_801,
    state: str = "in_step",
    reason: str = "",
    exact: tuple[str, str] = ("42960.10", "43590.00"),
    sequence: int = 42,
) -> bytes:
    """Return a snapshot or, with `previous`, an update, digit for digit as given."""
    kind = "snapshot" if previous is None else "update"
    after = "" if previous is None else f'"previous":{previous},'
    why = f'"reason":"{reason}",' if reason else ""
    return (
        f'{{"symbol":"{symbol}","type":"{kind}","depth":{depth},"every":{every},"number":{number},'
        f'{after}"update_id":{update_id},"state":"{state}",{why}'
        f'"bids":{_rows(bids)},"asks":{_rows(asks)},'
        f'"exact_from":{exact[0]},"exact_to":{exact[1]},'
        f'"timestamp":"2024-11-10 15:30:45 IST","time":1731232845123,"channel":"book",'
        f'"source":"binance","epoch":1731232800000,"sequence":{sequence}}}'
    ).encode()


def _rows(levels: LevelTexts) -> str:
    return f"[{','.join(f'[{price},{quantity}]' for price, quantity in levels)}]"
