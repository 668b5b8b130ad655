"""How log lines look: one line each, for people as text, for machines as JSON."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Literal

import msgspec
from typing_extensions import override


class TextFormatter(logging.Formatter):
    """`12:30:05.123 INFO  feed.symbol_feed  text key=value`, in UTC."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with the traceback below it where there is one."""
        at = datetime.fromtimestamp(record.created, UTC)
        name = record.name.removeprefix("app.")
        line = f"{at:%H:%M:%S}.{at.microsecond // 1000:03} {record.levelname:<7} {name}  "
        line += _one_line(record.getMessage())
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, traceback."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        try:
            return msgspec.json.encode(entry).decode()
        except UnicodeEncodeError:  # half a surrogate pair, from the name of a file for one
            printable = {
                key: value.encode(errors="backslashreplace").decode()
                for key, value in entry.items()
            }
            return msgspec.json.encode(printable).decode()


def _one_line(text: str) -> str:
    """Escape line ends and other controls: part of the text may come from the network."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def set_up_logs(level: str, form: Literal["text", "json"]) -> None:
    """Send the log lines of this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("httpx", "httpcore", "websockets", "uvicorn", "asyncio"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
