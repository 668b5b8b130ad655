"""Tests of app.cli.mistakes: one page for settings that cannot be used, wherever they stand."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from app.cli.mistakes import explained
from app.errors import PortInUse
from app.settings import read_settings


@pytest.fixture(autouse=True)
def _nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("SERVER_PORT", "RATE_LIMIT", "LOG_LEVEL", "BOOK_DEPTH", "MARKET_SOURCE"):
        monkeypatch.delenv(name, raising=False)


def page(capsys: pytest.CaptureFixture[str], **flags: object) -> str:
    """Return what is printed for the settings as they are."""
    with pytest.raises(typer.Exit) as ended, explained(**flags):
        read_settings(**flags)
    assert ended.value.exit_code == 2
    return capsys.readouterr().err


def test_every_wrong_setting_with_the_place_where_it_stands(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flags, environment, `.env` and YAML are one page, with what was expected of each."""
    Path("config").mkdir()
    Path("config/settings.yaml").write_text("book_depth: deep\nsymbols: [BTCUSDT]\n")
    Path(".env").write_text("SYMBOLS=BTCUSDT\n\nRATE_LIMIT=often\n")
    monkeypatch.setenv("LOG_LEVEL", "loud")
    text = page(capsys, server_port="eighty")
    assert "4 settings cannot be used" in text
    for said in (
        ("SERVER_PORT", "eighty", "integer", "the command line"),
        ("RATE_LIMIT", "often", "10/second", ".env, line 3"),
        ("LOG_LEVEL", "loud", "'debug'", "the environment"),
        ("BOOK_DEPTH", "deep", "integer", "config/settings.yaml"),
    ):
        (part,) = [part for part in text.split("\n\n") if said[0] in part]
        assert [word for word in said if word not in part] == []
    assert ".env.example" in text


def test_a_file_that_cannot_be_read_has_its_page(capsys: pytest.CaptureFixture[str]) -> None:
    """A line of `.env` that sets nothing is shown with its number."""
    Path(".env").write_text("SYMBOLS=BTCUSDT\nwhat is this\n")
    text = page(capsys)
    assert "A setting cannot be used" in text
    assert ".env, line 2" in text
    assert "what is this" in text


def test_other_errors_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """What can be expected to happen ends with status 2, and no traceback."""
    with pytest.raises(typer.Exit) as ended, explained():
        raise PortInUse(setting="SERVER_PORT", host="127.0.0.1", port=8000, reason="in use")
    assert ended.value.exit_code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "SERVER_PORT" in line


def test_nothing_wrong_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """What goes well goes on."""
    with explained():
        read_settings()
    assert capsys.readouterr().err == ""
