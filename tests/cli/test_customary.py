"""Tests of app.cli.customary: what people type who know other collectors."""

from __future__ import annotations

import shlex

import pytest

from app.cli.customary import NotUnderstood, as_commands

COMMANDS = ("serve", "simulate", "stream", "book", "poll", "symbols", "status")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("", ""),
        ("--help", "--help"),
        ("-h", "-h"),
        ("--version", "--version"),
        ("book BTCUSDT --depth 5", "book BTCUSDT --depth 5"),
        ("serve -s x", "serve -s x"),  # its own matter
        ("-s ethusdt --no-trade", "stream ethusdt --no-trade"),
        ("--no-trade -s ethusdt", "stream ethusdt --no-trade"),
        ("-s a -s b,c --symbol=d --kline 5m", "stream a b c d --kline 5m"),
        ("-s a --kline --no-storage", "stream a --kline 1m --no-storage"),
        ("stream a --kline", "stream a --kline 1m"),
        ("stream a --kline 1s,1m --candle --trade", "stream a --kline 1s,1m --candle 1s --trade"),
        ("-s ethusdt --order-book-snapshot", "poll ethusdt"),
        (
            "-s ethusdt --no-trade --order-book-snapshot --order-book-limit 1000 "
            "--order-book-interval=5 --no-storage",
            "poll ethusdt --limit 1000 --interval=5",
        ),
    ],
)
def test_what_is_meant(typed: str, meant: str) -> None:
    """Symbols by flags stream or poll; what begins with a command is left alone."""
    assert as_commands(shlex.split(typed), COMMANDS) == shlex.split(meant)


@pytest.mark.parametrize(
    ("typed", "word"),
    [
        ("ethusdt", "stream ethusdt"),
        ("sttus", "did you mean status"),
        ("--no-trade", "-s ethusdt"),
        ("-s", "needs a symbol"),
        ("-s --no-trade", "needs a symbol"),
        ("-s a --order-book-limit 5", "--order-book-snapshot"),
        ("-s a --order-book-snapshot --trade", "a command for each"),
    ],
)
def test_what_cannot_be_meant(typed: str, word: str) -> None:
    """The answer says what to type instead."""
    with pytest.raises(NotUnderstood, match=word):
        as_commands(shlex.split(typed), COMMANDS)
