"""Tests of app.cli.hub_calls: asking a hub, and what is said when there is none."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest
from typing_extensions import override

from app.cli.hub_calls import HubUnreachable, ask
from tests.end_to_end.running_program import free_port


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers by path."""

    def do_GET(self) -> None:
        """Answer."""
        status, body = {
            "/status": (200, b'{"version":"0.1.0"}'),
            "/html": (200, b"<html>"),
        }.get(self.path, (404, b'{"error":"NotFound"}'))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, *_arguments: object) -> None:
        """Stay quiet."""


@pytest.fixture
def url() -> Iterator[str]:
    """Serve in a thread."""
    with http.server.HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_answer_of_a_hub(url: str) -> None:
    """With or without a slash behind the address."""
    assert ask(url, "/status") == ask(f"{url}/", "/status") == {"version": "0.1.0"}


@pytest.mark.parametrize(("path", "said"), [("/nowhere", "HTTP 404"), ("/html", "no hub's REST")])
def test_what_is_no_hub(url: str, path: str, said: str) -> None:
    """What answers otherwise is named with what it said."""
    with pytest.raises(HubUnreachable, match=said):
        ask(url, path)


def test_nobody_there() -> None:
    """What to do is said."""
    with pytest.raises(HubUnreachable, match="candlewire serve"):
        ask(f"http://127.0.0.1:{free_port()}", "/status")


@pytest.mark.parametrize("address", ["file:///etc/passwd", "127.0.0.1:8000", ""])
def test_other_addresses(address: str) -> None:
    """Only a web address is asked."""
    with pytest.raises(HubUnreachable, match=r"such as http://127\.0\.0\.1:8000"):
        ask(address, "/status")
