"""A headless Chromium that opens one page of ours, which sends back what it saw."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Without these it looks for the hosts of its maker, at every start.
FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--no-proxy-server",
)
_PAGE = """<!doctype html><meta charset="utf-8"><title>follow</title>
<script src="/follow.js"></script>
<script>
const seen = [];
const show = (name, value) => seen.push([name, value]);
const send = () => fetch("/seen", { method: "POST", body: JSON.stringify(seen) });
window.onerror = (message) => { show("error", String(message)); send(); };
window.onunhandledrejection = ({ reason }) => { show("error", String(reason)); send(); };
followAll(WebSocket, %s, %s, show).then(send);
</script>
"""


def browser() -> str:
    """Return the path of a Chromium, or skip where there is none."""
    for name in NAMES:
        if path := shutil.which(name):
            return path
    pytest.skip(f"no browser is installed: none of {', '.join(NAMES)} was found")


class Page:
    """Serves the page and takes in what it saw, a list of names and values."""

    def __init__(self, script: Path, urls: list[str], seconds: float) -> None:
        self.seen: asyncio.Future[list[tuple[str, Any]]] = (
            asyncio.get_running_loop().create_future()
        )
        page = _PAGE % (json.dumps(urls), json.dumps(seconds))
        self._files = {
            "/": ("text/html", page.encode()),
            "/follow.js": ("text/javascript", script.read_bytes()),
        }

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        method, path, _ = head.split(" ", 2)
        kind, body = self._files.get(path, ("text/plain", b""))
        if method == "post":
            [length] = [line[15:] for line in head.split("\r\n") if "content-length:" in line]
            self.seen.set_result(json.loads(await reader.readexactly(int(length))))
        lines = ["HTTP/1.1 200 OK", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
        writer.write("\r\n".join([*lines, "Connection: close", "", ""]).encode() + body)
        await writer.drain()
        writer.close()


async def what_a_page_sees(
    folder: Path, script: Path, urls: list[str], seconds: float
) -> list[tuple[str, Any]]:
    """Open the page in a browser with an empty profile in `folder`; return what it saw."""
    page = Page(script, urls, seconds)
    server = await asyncio.start_server(page.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    as_root = ("--no-sandbox",) if os.name == "posix" and os.geteuid() == 0 else ()
    process = await asyncio.create_subprocess_exec(
        browser(),
        *FLAGS,
        *as_root,
        f"--user-data-dir={folder}",
        f"http://127.0.0.1:{port}/",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        return await page.seen
    finally:
        process.terminate()
        await process.wait()
        server.close()
