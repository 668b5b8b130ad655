"""`symbols` and `status`: what there is, and how a running hub is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from app.cli.following import books_of
from app.cli.hub_calls import ask
from app.cli.shown import BAD, QUIET, UP, WARNING, notice, trimmed
from app.cli.terminal import Terminal
from app.embed import Candlewire
from app.market.events import BookState
from app.market.symbols import SymbolInfo
from app.settings import read_settings

PIPED_WIDTH = 160

_json = msgspec.json.Encoder(decimal_format="number")


def hub_url(url: str | None) -> str:
    """Return where a hub's REST service is: as asked for, or as the settings say."""
    if url is not None:
        return url
    settings = read_settings()
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.server_ip, settings.server_ip)  # noqa: S104 - replaced
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.server_port}"


async def symbols(
    terminal: Terminal,
    *,
    search: str = "",
    active: bool = False,
    url: str | None = None,
    source: str | None = None,
) -> int:
    """Show the symbols that could be followed, or those that a hub follows."""
    wanted = search.upper()
    if active or url is not None:
        path = "/symbols" if active else "/symbols/available"
        answer = await asyncio.to_thread(ask, hub_url(url), path)
        names = [name for name in answer["symbols"] if wanted in name]
        for name in names:
            await terminal.write(_json.encode(name).decode() if terminal.json else name)
        return 0 if names else _nothing(terminal, search)
    async with Candlewire(source=source, book_source=books_of(source)) as hub:
        head = notice(hub.source.name, simulated=hub.source.simulated)
        listed = await hub.available()
        found = [one for name, one in sorted(listed.items()) if one.trading and wanted in name]
    if terminal.json:
        for one in found:
            await terminal.write(_json.encode(one).decode())
    elif terminal.interactive:
        await terminal.write(head)
        terminal.out.print(_listed(found))
    else:
        for one in found:
            await terminal.write(one.symbol)
    return 0 if found else _nothing(terminal, search)


def _nothing(terminal: Terminal, search: str) -> int:
    terminal.tell(
        Text(f"candlewire: no symbol has {search!r} in it" if search else "none", WARNING)
    )
    return 1


def _listed(found: Sequence[SymbolInfo]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style=QUIET, show_edge=False)
    for name in ("symbol", "base", "quote"):
        table.add_column(name)
    for name in ("price step", "quantity step"):
        table.add_column(name, justify="right")
    for one in found:
        steps = (trimmed(step) if step else "" for step in (one.tick_size, one.step_size))
        table.add_row(one.symbol, one.base_asset, one.quote_asset, *steps)
    table.caption = f"{len(found)} symbols"
    return table


async def status(terminal: Terminal, *, url: str | None = None) -> int:
    """Show what a hub says of itself."""
    report = await asyncio.to_thread(ask, hub_url(url), "/status")
    if terminal.json:
        await terminal.write(_json.encode(report).decode())
    else:
        if not terminal.interactive:
            terminal.out.width = PIPED_WIDTH
        terminal.out.print(page(report))
    return 0


def page(report: Mapping[str, Any]) -> RenderableType:
    """Return the answer of `/status` as a page of tables."""
    books = report.get("books", {}).get("symbols", {})
    return Group(_head(report), Text(), _symbols(report["symbols"], books), Text(), _rest(report))


def _head(report: Mapping[str, Any]) -> Text:
    up = timedelta(seconds=int(report["uptime_s"]))
    text = Text.assemble(
        (f"Candlewire {report['version']}", "bold"),
        "  ",
        notice(report["source"], simulated=report["simulated"]),
        "  ",
        (report["status"], UP if report["ready"] else WARNING),
        (f"  up {up}", QUIET),
    )
    for reason in (report.get("source_reason"), *report["not_ready"]):
        if reason:
            text.append(f"\n{reason}", WARNING)
    return text


_COLUMNS = {
    "trades": "trades",
    "candles": "candles",
    "incomplete": "incomplete",
    "revised": "revised",
    "verified": "verified",
    "mismatched": "mismatched",
    "missing_ids": "missing",
    "reconnects": "reconnects",
}
_BAD_COLUMNS = {"incomplete", "mismatched", "missing_ids"}


def _symbols(
    statuses: Iterable[Mapping[str, Any]], books: Mapping[str, Mapping[str, Any]]
) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style=QUIET, show_edge=False)
    table.add_column("symbol")
    table.add_column("state")
    for title in _COLUMNS.values():
        table.add_column(title, justify="right")
    table.add_column("book")
    table.add_column("reason")
    for one in statuses:
        book = books.get(one["symbol"], {})
        kept = str(book.get("state", ""))
        trusted = kept in tuple(BookState) and BookState(kept).trusted
        table.add_row(
            one["symbol"],
            Text(one["state"], UP if one["state"] == "live" else WARNING),
            *(_count(name, one.get(name, 0)) for name in _COLUMNS),
            Text(kept, UP if trusted else WARNING),
            Text(str(one.get("reason") or book.get("reason") or ""), WARNING),
        )
    return table


def _count(name: str, count: int) -> Text:
    return Text(f"{count:,}", BAD if count and name in _BAD_COLUMNS else "")


def _streams(report: Mapping[str, Any], gateway: str) -> int:
    return int((report.get(gateway) or {}).get("streams", 0))


def _rest(report: Mapping[str, Any]) -> Table:
    """Return what is left that a person would look for."""
    exchange, clients = report.get("exchange", {}), report.get("clients", {})
    rows = {
        "exchange": f"{exchange.get('stream_url', '')}  {exchange.get('rest_url', '')}",
        "weight": f"{exchange.get('weight_1m', '?')} of {exchange.get('weight_1m_limit', '?')} "
        "in the last minute",
        "clients": f"{clients.get('clients', 0)} WebSocket, {_streams(report, 'events')} event "
        f"streams, {_streams(report, 'grpc')} gRPC",
        "position": f"epoch {report['epoch']}, sequence {report['sequence']:,}",
    }
    table = Table.grid(padding=(0, 2, 0, 0))
    for name, value in rows.items():
        table.add_row(Text(name, QUIET), value)
    return table
