"""The fault script."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidSetting
from app.simulator.faults import (
    Fault,
    Form,
    Kind,
    Lasting,
    RetryAs,
    garbage,
    parse_script,
    read_script,
    refusal,
    unreadable,
)

EXAMPLE = Path(__file__).resolve().parents[2] / "config" / "faults.example.yaml"


def test_the_example_shows_every_kind():
    """The documented file loads, and no kind is missing from it."""
    assert {fault.kind for fault in read_script(EXAMPLE)} == set(Kind)


def test_a_script_may_be_one_fault_a_list_or_a_mapping():
    """YAML and JSON, one or many."""
    one = Fault(kind=Kind.CLOSE, at=1.0)
    assert parse_script(b'{"kind":"close","at":1}') == [one]
    assert parse_script(b"- {kind: close, at: 1}\n- {kind: close, at: 1}") == [one, one]
    assert parse_script(b"faults:\n  - kind: close\n    at: 1\n") == [one]
    assert parse_script(b"") == []


@pytest.mark.parametrize(
    "script",
    [
        "kind: nonsense",
        "{kind: close, when: 3}",
        "{kind: drop, probability: 2}",
        "{kind: close, at: -1}",
        "{kind: id_reset}",
        "{kind: id_jump, count: 3}",
        "{kind: kline_wrong, where: nowhere}",
        "{kind: rest_status, retry_as: words}",
        "{kind: close, code: 1006}",
        "{kind: symbol_status, symbol: BTCUSDT, symbol_status: CLOSED}",
        "[[]]",
        "just text",
        "{",
    ],
)
def test_a_wrong_script_is_refused_with_the_reason(tmp_path, script):
    """What a script means wrongly is a ValueError; from a file it names the setting and path."""
    with pytest.raises(ValueError, match=r".+"):
        parse_script(script.encode())
    path = tmp_path / "faults.yaml"
    path.write_text(script)
    with pytest.raises(InvalidSetting) as caught:
        read_script(path)
    assert caught.value.key == "--faults"


def test_a_wrong_fault_is_named_by_its_place():
    """In a list of many, the reason ends with the place of the first that is wrong."""
    script = b"- {kind: reset}\n- {kind: close, code: 1005}\n- {kind: close, code: 1006}"
    with pytest.raises(ValueError, match=r"1006.*`\$\[2\]\.code`"):
        parse_script(script)
    with pytest.raises(ValueError, match=r"line 2"):
        parse_script(b"- {kind: reset}\n- {kind: [}")


def test_a_missing_script_is_a_wrong_setting(tmp_path):
    """A file that is not there is named."""
    with pytest.raises(InvalidSetting, match="No such file"):
        read_script(tmp_path / "none.yaml")


@given(st.binary(max_size=120))
def test_junk_raises_nothing_but_value_error(content):
    """Whatever is posted, it is faults or a ValueError."""
    try:
        faults = parse_script(content)
    except ValueError:
        return
    assert all(isinstance(fault, Fault) for fault in faults)


def test_filters_choose_streams_connections_and_paths():
    """Symbol and pattern both have to match; none means all."""
    anything = Fault(kind=Kind.DROP)
    assert anything.concerns("btcusdt@trade")
    assert anything.concerns_any([])
    one = Fault(kind=Kind.DROP, symbol="BTCUSDT", stream="*@kline_*")
    assert one.concerns("btcusdt@kline_1s")
    assert not one.concerns("btcusdt@trade")
    assert not one.concerns("ethusdt@kline_1s")
    assert one.concerns_any(["btcusdt@trade", "btcusdt@kline_1m"])
    assert not one.concerns_any([])
    fault = Fault(kind=Kind.REST_STATUS, path="/api/v3/kl")
    assert fault.concerns_call("/api/v3/klines", "BTCUSDT")
    assert not fault.concerns_call("/api/v3/time", "")
    of_a_symbol = Fault(kind=Kind.REST_LAG, symbol="btcusdt")
    assert of_a_symbol.concerns_call("/api/v3/depth", "BTCUSDT")
    assert not of_a_symbol.concerns_call("/api/v3/depth", "ETHUSDT")
    assert not of_a_symbol.concerns_call("/api/v3/exchangeInfo", "")


def test_a_lasting_fault_ends_by_time_and_by_count():
    """The first of both bounds ends it; without any it lasts 10 s."""
    by_count = Lasting(Fault(kind=Kind.DROP, count=2), now=0.0, seed=7)
    assert [by_count.strikes(n) for n in (0.0, 1e6, 1e6)] == [True, True, False]
    by_time = Lasting(Fault(kind=Kind.DROP, duration=5.0), now=100.0, seed=7)
    assert by_time.strikes(104.9)
    assert not by_time.strikes(105.0)
    assert Lasting(Fault(kind=Kind.STALL), now=0.0, seed=7).over(10.0)


def test_chance_comes_from_the_seed():
    """The same seed strikes at the same frames, and about as often as asked."""
    fault = Fault(kind=Kind.DROP, duration=1e6, probability=0.3)
    left, right = Lasting(fault, now=0.0, seed=7), Lasting(fault, now=0.0, seed=7)
    struck = [left.strikes(1.0) for _ in range(2000)]
    assert struck == [right.strikes(1.0) for _ in range(2000)]
    assert 500 < sum(struck) < 700
    assert left.hits == sum(struck)


@pytest.mark.parametrize("form", [form for form in Form if form is not Form.INVALID_FRAME])
def test_garbage_is_broken(form):
    """No form of garbage is a sound trade."""
    payload, binary = garbage(Fault(kind=Kind.GARBAGE, form=form, size=1000, symbol="ethusdt"))
    if form in {Form.TRUNCATED, Form.WRONG_TYPES, Form.NOT_A_NUMBER}:
        assert b'"ETHUSDT","t":' in payload
    assert binary == (form is Form.BINARY)
    if form in {Form.WRONG_TYPES, Form.NOT_A_NUMBER, Form.HUGE}:
        msgspec.json.decode(payload)
    else:
        with pytest.raises((msgspec.DecodeError, RecursionError)):
            msgspec.json.decode(payload)


@pytest.mark.parametrize("combined", [False, True], ids=["raw", "combined"])
def test_a_spoilt_trade_has_no_price(combined):
    """It stays JSON, and everything else in it stays."""
    trade = b'{"e":"trade","t":7,"p":"1.00000000","q":"2.00000000"}'
    frame = b'{"stream":"x@trade","data":%b}' % trade if combined else trade
    assert unreadable(frame) == frame.replace(b'"1.00000000"', b'"?"')


@pytest.mark.parametrize("status", [429, 418, 451, 403, 500])
def test_refusals_look_like_the_exchange_s(status):
    """Retry-After is sent where asked for; a firewall answers HTML, the rest JSON with a code."""
    fault = Fault(kind=Kind.REST_STATUS, status=status, retry_after=9)
    headers, body = refusal(fault, 1_000_000)
    assert headers["Retry-After"] == "9"
    dated = msgspec.structs.replace(fault, retry_as=RetryAs.DATE)
    assert refusal(dated, 1_000_000)[0]["Retry-After"] == "Thu, 01 Jan 1970 00:00:10 GMT"
    assert refusal(dated, 1_000_001)[0]["Retry-After"] == "Thu, 01 Jan 1970 00:00:11 GMT"
    assert "Retry-After" not in refusal(Fault(kind=Kind.REST_STATUS, status=status), 0)[0]
    if status == 403:
        assert b"<html>" in body
    else:
        assert "code" in msgspec.json.decode(body)
