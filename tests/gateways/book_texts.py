"""Messages of the channels `book` and `book_metrics` as JSON text, written out plainly."""

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


def metrics_text(
    *, reason: str = "", volume_by_price: LevelTexts | None = BIDS, **changes: object
) -> bytes:
    """Return figures of a book; `changes` are of fields, as JSON text or as whole numbers."""
    values: dict[str, object] = {
        "symbol": '"BTCUSDT"',
        "every": 1_000,
        "number": 1_207,
        "update_id": 52_981_348_801,
        "state": f'"{changes.pop("state", "in_step")}"',
        **({"reason": f'"{reason}"'} if reason else {}),
        "best_bid": "43250.50",
        "best_bid_quantity": "1.25000",
        "best_ask": "43250.51",
        "best_ask_quantity": "0.75000",
        "mid": "43250.505",
        "microprice": "43250.50625",
        "spread": "0.01",
        "spread_bps": "0.0023121116",
        "imbalance": "0.25",
        "levels": 5,
        "bands": '[{"bps":10,"bid_quantity":13.25120,"ask_quantity":3.85000}]',
        "window_s": 60,
        "trades": 87,
        "volume": "12.34567",
        "quote_volume": "533421.12345678",
        "vwap": "43207.142605902",
        "realised_volatility": "0.000231",
    }
    if volume_by_price is not None:
        values |= {"bucket_width": "5", "volume_by_price": _rows(volume_by_price)}
    values |= {
        "timestamp": '"2024-11-10 15:30:45 IST"',
        "time": 1_731_232_845_000,
        "channel": '"book_metrics"',
        "source": '"binance"',
        "epoch": 1_731_232_800_000,
        "sequence": 42,
    }
    values |= changes
    return ("{" + ",".join(f'"{name}":{value}' for name, value in values.items()) + "}").encode()


def _rows(levels: LevelTexts) -> str:
    return f"[{','.join(f'[{price},{quantity}]' for price, quantity in levels)}]"
