"""Frames that no exchange should send: bad payloads, and breaches of the WebSocket protocol.

None of the payloads says anything that could be taken for true: each is to be counted, as bad or
as of an unknown kind, and skipped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from random import Random

from app.sockets.session import Session

MIB = 1024 * 1024
LIMIT_BYTES = 4 * MIB

TRADE = {
    "e": '"trade"', "E": "1731298500123", "s": '"BTCUSDT"', "t": "900001", "p": '"182.41000000"',
    "q": '"3.20000000"', "T": "1731298500122", "m": "false", "M": "true",
}  # fmt: skip
AGG_TRADE = {
    "e": '"aggTrade"', "E": "1731298500123", "s": '"BTCUSDT"', "a": "5", "p": '"182.41000000"',
    "q": '"3.20000000"', "f": "900001", "l": "900003", "T": "1731298500122", "m": "false",
}  # fmt: skip
BAR = {
    "t": "1731298500000", "T": "1731298500999", "s": '"BTCUSDT"', "i": '"1s"', "f": "900001",
    "L": "900003", "o": '"182.41"', "c": '"182.38"', "h": '"182.42"', "l": '"182.38"',
    "v": '"8.25"', "n": "3", "x": "true", "q": '"1504.77"', "V": '"4.25"', "Q": '"775.25"',
}  # fmt: skip
QUOTE = {
    "u": "77310042", "s": '"BTCUSDT"', "b": '"182.38"', "B": '"61.2"', "a": '"182.39"',
    "A": '"14.05"',
}  # fmt: skip
DIFF = {
    "e": '"depthUpdate"', "E": "1731298500123", "s": '"BTCUSDT"', "U": "77310031",
    "u": "77310042", "b": '[["182.38000000","61.20000000"]]', "a": '[["182.39000000","14.05"]]',
}  # fmt: skip

# What none of the fields may be, and what those of one type may not be besides.
NOTHING = ("null", "[]", "{}", "[[]]", '{"a":1}', "NaN", "Infinity", "-Infinity", "1e400")
NO_FLAG = (*NOTHING, "0", "1", '"true"', "1.5")
NO_TEXT = (*NOTHING, "5", "true", '""', '"%s"' % ("S" * 51), '"\\ud800"', '"\xff\xfe"', "'x'")
NO_NUMBER = (
    *(*NOTHING, "true", '"7"', "1.5", "7.0", "1e3", "-1", "- 1", "+1", "01", "0x10", "1_000"),
    *("9223372036854775808", "18446744073709551615", "18446744073709551616", "9" * 5_000),
    *("-9223372036854775808", "-9223372036854775809"),
)
NO_TIME = (*NO_NUMBER, "253402300800000", "9467085600000000", "9467085600000000000")  # year 300000
_TOO_MUCH, _TOO_LARGE_SUM = '"1000000000000"', '"1000000000000000000"'
NO_AMOUNT = (
    *(*NOTHING, "true", "1.5", "182", '""', '"NaN"', '"sNaN"', '"-NaN"', '"Infinity"', '"-inf"'),
    *('"-1.00000000"', '"1e400"', '"1e-400"', _TOO_MUCH, '"0x10"', '"1,5"', '"1.2.3"'),
    *('"%s"' % ("9" * 10_000), '"0.%s"' % ("1" * 19), '"\\u0000"'),
)
NO_SUM = tuple(_TOO_LARGE_SUM if each == _TOO_MUCH else each for each in NO_AMOUNT)
NO_PRICE = (*NO_AMOUNT, '"0"', '"0.00000000"', '"-0.00000000"')
NO_LEVEL = ("", "1.2.3", "-1.0", "1e3", "nan", " 1.0", "1_0.0", "9" * 500)

WRONG: dict[str, Sequence[str]] = {
    **dict.fromkeys(("E", "T"), NO_TIME),
    **dict.fromkeys(("t", "a", "f", "l", "u"), NO_NUMBER),
    **dict.fromkeys(("p", "q"), NO_PRICE),
    **dict.fromkeys(("m", "M"), NO_FLAG),
    "s": NO_TEXT,
    "e": (*NOTHING, "5", "true"),
}
WRONG_IN_QUOTE = {
    **dict.fromkeys(("b", "B", "a", "A"), NO_PRICE),
    "u": NO_NUMBER,
    "s": NO_TEXT,
}
WRONG_IN_DIFF = {
    "E": NO_TIME,
    "U": (*NO_NUMBER, "77310043"),
    "u": (*NO_NUMBER, "77310030"),
    **dict.fromkeys(
        ("b", "a"),
        (
            *(each for each in NOTHING if each != "[]"),
            *('["1.0"]', '[["1.0"]]', '[["1.0","1.0","1.0"]]', '[["1.0",2]]', "[[1,2]]"),
            *(f'[["{one}","1.00000000"]]' for one in NO_LEVEL),
            *(f'[["1.00000000","{one}"]]' for one in NO_LEVEL),
        ),
    ),
    "s": NO_TEXT,
}
WRONG_IN_BAR = {
    **dict.fromkeys(("t", "T"), (*NO_TIME, "1731298500001.5")),
    **dict.fromkeys(("o", "c", "h", "l"), NO_PRICE),
    **dict.fromkeys(("v", "q", "V", "Q"), NO_SUM),
    "f": (*(each for each in NO_NUMBER if each != "-1"), "-2", "900004"),
    "L": (*(each for each in NO_NUMBER if each != "-1"), "-2", "900000"),
    "n": (*NO_NUMBER, "0"),
    "i": (*NOTHING, "5", '""', '"x"', '"60 seconds"'),
    "x": NO_FLAG,
    "s": NO_TEXT,
}


def written(fields: dict[str, str]) -> str:
    """Return an object of values that are JSON already, or nearly."""
    inner = ",".join(f'"{name}":{value}' for name, value in fields.items())
    return f"{{{inner}}}"


def kline(bar: dict[str, str]) -> str:
    """Return a kline's payload."""
    return written({"e": '"kline"', "E": "1731298501002", "s": '"BTCUSDT"', "k": written(bar)})


def _enveloped(chance: Random, payload: str) -> str:
    return payload if chance.random() < 0.3 else f'{{"stream":"btcusdt@trade","data":{payload}}}'


def _changed(
    chance: Random, fields: dict[str, str], wrong: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    name = chance.choice([name for name in fields if name in wrong])
    return {**fields, name: chance.choice(wrong[name])}


def wrong_field(chance: Random) -> bytes:
    """Return an event in which one field is what it may not be."""
    kind = chance.choice(("trade", "aggregate", "quote", "diff", "bar"))
    if kind == "trade":
        payload = written(_changed(chance, TRADE, WRONG))
    elif kind == "aggregate":
        payload = written(_changed(chance, AGG_TRADE, WRONG))
    elif kind == "quote":
        payload = written(_changed(chance, QUOTE, WRONG_IN_QUOTE))
    elif kind == "diff":
        payload = written(_changed(chance, DIFF, WRONG_IN_DIFF))
    else:
        payload = kline(_changed(chance, BAR, WRONG_IN_BAR))
    return _enveloped(chance, payload).encode("latin-1")


def missing_field(chance: Random) -> bytes:
    """Return an event without one of the fields that it must have."""
    fields = dict(chance.choice((TRADE, AGG_TRADE, DIFF, BAR)))
    del fields[chance.choice([name for name in fields if name not in {"e", "M"}])]
    payload = written(fields) if "e" in fields else kline(fields)
    return _enveloped(chance, payload).encode()


def truncated(chance: Random) -> bytes:
    """Return an event that breaks off."""
    whole = _enveloped(
        chance, chance.choice((written(TRADE), kline(BAR), written(QUOTE), written(DIFF)))
    ).encode()
    return whole[: chance.randrange(len(whole))]


def followed(chance: Random) -> bytes:
    """Return an event with something behind it."""
    whole = _enveloped(chance, written(TRADE))
    return (whole + chance.choice((whole, "x", "}", "]", ",", "\x00", "null", '"'))).encode()


def noise(chance: Random) -> bytes:
    """Return bytes of no meaning."""
    return b"\xff" + chance.randbytes(chance.randrange(300))


def nested(chance: Random) -> bytes:
    """Return brackets within brackets."""
    depth = chance.choice((500, 2_000, 20_000))
    opening = chance.choice((b"[", b'{"e":', b'{"stream":"x","data":', b'{"a":[', b'[{"k":'))
    whole = opening * depth
    if chance.random() < 0.5:
        return written(TRADE).encode()[:-1] + b',"x":' + whole
    return whole


def foreign(chance: Random) -> bytes:
    """Return a good trade of a symbol that nobody has asked for."""
    symbol = json.dumps(f"X{chance.randrange(1_000)}")
    return _enveloped(chance, written({**TRADE, "s": symbol})).encode()


def unknown(chance: Random) -> bytes:
    """Return an event of a kind that there is not, or not for us."""
    return chance.choice(
        (
            b"[]",
            b'[{"e":"24hrTicker"}]',
            b'{"lastUpdateId":7,"bids":[],"asks":[]}',
            b'{"e":"tomorrow","t":1}',
            b'{"stream":"btcusdt@tomorrow","data":{"e":"tomorrow"}}',
            b"{}",
        )
    )


def bare(chance: Random) -> bytes:
    """Return what is no event at all."""
    texts = (b"", b" ", b"\n\t ", b"\x00", b"null", b"true", b"5", b'"text"', b"NaN", b"<html>")
    return chance.choice(
        (*texts, b"\xef\xbb\xbf{}", b'{"stream":"x"}', b'{"data":{}}x', b"{'e':1}")
    )


def far_off(chance: Random) -> bytes:
    """Return a trade that is well formed, and years ahead."""
    time = chance.choice(("253402300799999", str(chance.randrange(4_102_444_800_000, 2 * 10**14))))
    trade_id = str(chance.choice((900_001, 2**63 - 1, chance.randrange(2**62))))
    return _enveloped(chance, written({**TRADE, "E": time, "T": time, "t": trade_id})).encode()


def large(chance: Random) -> bytes:
    """Return some MiB of nothing, within the limit."""
    size = chance.choice((MIB, LIMIT_BYTES))
    filler = chance.choice((b"x", b" ", b"[", b"9", b"\x00", b"\xff", b'{"a":'))
    start = chance.choice((b"", b'{"e":"trade","s":"', b'{"stream":"'))
    return (start + filler * size)[:size]


KINDS: tuple[tuple[Callable[[Random], bytes], int], ...] = (
    (wrong_field, 500),
    (missing_field, 80),
    (truncated, 120),
    (followed, 60),
    (noise, 80),
    (nested, 20),
    (foreign, 20),
    (unknown, 30),
    (bare, 60),
    (far_off, 29),
    (large, 1),
)
"""Each with how many of a thousand frames are of it."""


def junk(chance: Random) -> tuple[bytes, bool]:
    """Return a payload that is to be skipped, and whether its frame is to be a binary one."""
    makers, weights = zip(*KINDS, strict=True)
    (make,) = chance.choices(makers, weights)
    return make(chance), chance.random() < 0.1


def _frame(first: int, size_code: int, size: bytes = b"", payload: bytes = b"") -> bytes:
    return bytes((first, size_code)) + size + payload


BREACHES = {
    "a reserved opcode": _frame(0x83, 1, payload=b"x"),
    "a reserved control opcode": _frame(0x8B, 0),
    "a reserved bit": _frame(0xC1, 1, payload=b"x"),
    "compressed without agreement": _frame(0xC1, 7, payload=b"\xaa\x56\x2a\x2e\x29\xca\x01"),
    "a masked frame": _frame(0x81, 0x81, payload=b"\x00\x00\x00\x00x"),
    "a fragmented ping": _frame(0x09, 1, payload=b"x"),
    "a ping of 126 bytes": _frame(0x89, 126, b"\x00\x7e", b"x" * 126),
    "a continuation of nothing": _frame(0x80, 1, payload=b"x"),
    "a message within another": _frame(0x01, 1, payload=b"{") + _frame(0x81, 1, payload=b"x"),
    "a close frame of one byte": _frame(0x88, 1, payload=b"\x03"),
    "a close frame of a forbidden code": _frame(0x88, 2, payload=b"\x03\xed"),
    "a close frame with no UTF-8": _frame(0x88, 4, payload=b"\x03\xe8\xff\xfe"),
    "a size of 2^63": _frame(0x81, 127, b"\x80" + bytes(7)),
    "a message over 4 MiB": _frame(
        0x81, 127, (LIMIT_BYTES + 1).to_bytes(8, "big"), b"x" * (LIMIT_BYTES + 1)
    ),
    "a message of 10 MiB": _frame(0x82, 127, (10 * MIB).to_bytes(8, "big"), bytes(10 * MIB)),
    "fragments that add up to 6 MiB": b"".join(
        _frame(first, 127, (2 * MIB).to_bytes(8, "big"), b" " * (2 * MIB))
        for first in (0x01, 0x00, 0x80)
    ),
    "random bytes": bytes(range(0xF3, 0x100)) * 20,
}
"""What breaks the WebSocket protocol or the size limit, as bytes on the wire."""


class Lines:
    """The server's ends of all stream connections, to send over them what the exchange would not.

    Be the `accept` of whatever listens.
    """

    def __init__(self, new_session: Callable[[], Session]) -> None:
        self._new_session = new_session
        self._sessions: list[Session] = []

    def accept(self) -> Session:
        """Return the protocol of one new connection."""
        session = self._new_session()
        self._sessions.append(session)
        return session

    @property
    def open(self) -> Sequence[Session]:
        """Those that are open now."""
        self._sessions = [session for session in self._sessions if session.is_open]
        return self._sessions

    def send(self, payload: bytes, *, binary: bool) -> None:
        """Send one message over each."""
        for session in self.open:
            session.send(payload, binary=binary)

    def write(self, data: bytes) -> None:
        """Write bytes to each, whatever they are."""
        for session in self.open:
            session.write_raw(data)
