"""Tests of app.logs."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from app.logs import JsonFormatter, TextFormatter, set_up_logs

CREATED = 1_731_232_845.0875


def record(message: str, *args: object, error: BaseException | None = None) -> logging.LogRecord:
    """Return a line to be formatted, of Sunday 10:00:45 UTC."""
    made = logging.LogRecord(
        "app.feed.symbol_feed", logging.WARNING, __file__, 1, message, args, exc_info=None
    )
    made.created = CREATED
    if error is not None:
        made.exc_info = (type(error), error, error.__traceback__)
    return made


def an_error() -> ZeroDivisionError:
    """Return an error that has a traceback."""
    try:
        1 / 0  # noqa: B018 - raises
    except ZeroDivisionError as error:
        return error
    raise AssertionError


def test_a_text_line() -> None:
    """Time in UTC with milliseconds, level, the room, then the text with its values."""
    line = TextFormatter().format(record("feed symbol=%s state=%s", "BTCUSDT", "live"))
    assert line == "10:00:45.087 WARNING feed.symbol_feed  feed symbol=BTCUSDT state=live"


def test_a_text_line_is_one_line() -> None:
    """Nothing that came over the network can begin a line of its own, or colour the terminal."""
    line = TextFormatter().format(record("reason=%s", "bad\r\n10:00:46.000 ERROR \x1b[31mfake"))
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line
    assert "fake" in line
    assert TextFormatter().format(record("symbol=%s", "币安人生USDT")).endswith("币安人生USDT")


def test_a_traceback_follows_the_text() -> None:
    """An unexpected error is shown with its traceback below the line."""
    text = TextFormatter().format(record("crashed", error=an_error()))
    assert text.splitlines()[0].endswith("crashed")
    assert "Traceback" in text
    assert "an_error" in text


def test_a_json_line() -> None:
    """One object a line with time, level, logger, message, and the traceback where there is one."""
    line = JsonFormatter().format(record("feed symbol=%s", "BTC\nUSDT"))
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2024-11-10T10:00:45.087500+00:00",
        "level": "warning",
        "logger": "app.feed.symbol_feed",
        "message": "feed symbol=BTC\nUSDT",
    }
    with_error = JsonFormatter().format(record("crashed", error=an_error()))
    assert "\n" not in with_error
    assert "ZeroDivisionError" in json.loads(with_error)["traceback"]


@pytest.mark.parametrize("text", ["\ud800", "a\udcffb", "\0"])
def test_no_text_breaks_a_line(text: str) -> None:
    """Half a surrogate pair, as in the name of a broken file, is escaped, not raised."""
    assert json.loads(JsonFormatter().format(record("file=%s", text)))["message"].startswith(
        "file="
    )
    TextFormatter().format(record("file=%s", text)).encode()


@pytest.fixture
def _logging_as_before() -> Iterator[None]:
    """Put logging back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    others = ("httpx", "httpcore", "websockets", "uvicorn", "asyncio")
    levels = {name: logging.getLogger(name).level for name in others}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


@pytest.mark.usefixtures("_logging_as_before")
@pytest.mark.parametrize("form", ["text", "json"])
def test_lines_go_to_standard_error(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the level on, each line goes to standard error once, however often logs are set up."""
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    for _ in range(2):
        set_up_logs("info", form)  # type: ignore[arg-type]
    logging.getLogger("app.feed").info("shown number=%d", 1)
    logging.getLogger("app.feed").debug("not shown")
    logging.getLogger("httpx").info("every request")
    logging.getLogger("httpx").warning("something")
    lines = written.getvalue().splitlines()
    assert len(lines) == 2
    assert "shown number=1" in lines[0]
    assert lines[0].startswith("{") is (form == "json")


@pytest.mark.usefixtures("_logging_as_before")
def test_libraries_are_never_louder_than_the_hub() -> None:
    """With the level at `error`, warnings of libraries are not shown either."""
    set_up_logs("error", "text")
    assert not logging.getLogger("websockets").isEnabledFor(logging.WARNING)
    assert logging.getLogger("websockets").isEnabledFor(logging.ERROR)
