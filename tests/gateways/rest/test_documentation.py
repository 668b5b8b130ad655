"""The documentation: complete, truthful, and without a word to any other host."""

from __future__ import annotations

import re

import msgspec
import pytest

from app.gateways.rest.config import RestConfig
from app.gateways.rest.documentation import describe_service
from app.gateways.rest.events import PARAMETERS
from app.gateways.rest.operations import OPERATIONS, Operation
from tests.gateways.rest.fakes import Hub

DEFAULT = Hub(RestConfig())
UNLIMITED = Hub()
ELSEWHERE = re.compile(r"""https?://|["'(]//""")


def test_the_page_loads_nothing_from_elsewhere() -> None:
    """The page names no other host, and every file it names is served here."""
    client = UNLIMITED.client()
    page = client.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert not ELSEWHERE.search(page.text)
    files = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(files) == 4
    for file in files:
        answer = client.get(f"/{file}")
        assert answer.status_code == 200
        assert answer.content
    assert not ELSEWHERE.search(client.get("/static/docs.js").text)


def test_the_page_of_the_websocket_loads_nothing_from_elsewhere() -> None:
    """It lies one level down, and so do its links; what it loads is served here."""
    client = UNLIMITED.client()
    page = client.get("/docs/ws")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert policy == client.get("/docs").headers["content-security-policy"]
    assert not ELSEWHERE.search(page.text)
    files = re.findall(r'(?:src|href)="\.\./([^"]+)"', page.text)
    assert len(files) == 4
    for file in files:
        answer = client.get(f"/{file}")
        assert answer.status_code == 200
        assert answer.content
    for file in ("asyncapi.js", "asyncapi.css"):
        assert not ELSEWHERE.search(client.get(f"/static/{file}").text)


def test_a_browser_is_told_to_load_nothing_from_elsewhere() -> None:
    """The page's policy lets scripts, styles and calls come from this hub alone."""
    policy = UNLIMITED.client().get("/docs").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert not re.search(r"https?:|\*", policy)


@pytest.mark.parametrize(
    ("file", "content_type"),
    [
        ("docs.js", "text/javascript; charset=utf-8"),
        ("asyncapi.js", "text/javascript; charset=utf-8"),
        ("asyncapi.css", "text/css; charset=utf-8"),
        ("swagger-ui/swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
        ("swagger-ui/swagger-ui.css", "text/css; charset=utf-8"),
        ("swagger-ui/favicon-32x32.png", "image/png"),
        ("swagger-ui/LICENSE", "text/plain; charset=utf-8"),
    ],
)
def test_files_have_their_types_and_are_kept(file: str, content_type: str) -> None:
    """A browser gets each file once, and 304 as long as it is the same."""
    client = UNLIMITED.client()
    answer = client.get(f"/static/{file}")
    assert answer.headers["content-type"] == content_type
    again = client.get(f"/static/{file}", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert "max-age" in again.headers["cache-control"]


@pytest.mark.parametrize(
    "file", ["nope.js", "../config.py", "%2e%2e/config.py", "slowapi.env", "%00", "swagger-ui/"]
)
def test_no_other_file_is_served(file: str) -> None:
    """Only the files of the table are served, whatever the path says."""
    answer = UNLIMITED.client().get(f"/static/{file}")
    assert (answer.status_code, answer.json()["error"]) == (404, "NotFound")


def test_there_is_no_redoc() -> None:
    """The page that needs another host is not there."""
    assert UNLIMITED.client().get("/redoc").status_code == 404


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_each_operation_is_documented(operation: Operation) -> None:
    """Summary, text, a real answer, its model and its errors are in the OpenAPI document."""
    DEFAULT.clock.seconds += 1
    document = DEFAULT.client().get("/openapi.json").json()
    described = document["paths"][operation.path][operation.method.lower()]
    assert described["summary"] == operation.summary
    assert operation.example in described["description"]
    assert "At most 10 per 1 second for each address." in described["description"]
    assert set(described["responses"]) == {
        "200",
        "429",
        "default",
        *(str(status) for status in operation.errors),
    }
    for status, answer in described["responses"].items():
        if status != "200":
            reference = answer["content"]["application/json"]["schema"]["$ref"]
            assert reference.endswith(("/ErrorAnswer", "/NotReadyAnswer"))
    good = described["responses"]["200"]["content"][operation.media_type]
    assert "schema" in good
    assert "example" in good


def test_the_document_is_whole() -> None:
    """Every reference in the document leads somewhere, and no error of another shape is named."""
    answer = UNLIMITED.client().get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    schemas = answer.json()["components"]["schemas"]
    for name in re.findall(r'"#/components/schemas/(\w+)"', answer.text):
        assert name in schemas
    assert "HTTPValidationError" not in answer.text


def test_the_body_is_documented_as_strict() -> None:
    """The document says that the body has this one field and no other."""
    document = UNLIMITED.client().get("/openapi.json").json()
    body = document["paths"]["/add_symbol"]["post"]["requestBody"]
    schema = body["content"]["application/json"]["schema"]
    assert body["required"] is True
    assert (schema["required"], schema["additionalProperties"]) == (["symbol"], False)


def test_parameters_are_documented_with_their_bounds() -> None:
    """The document says which parameters a call has, of which kind, and what they default to."""
    document = UNLIMITED.client().get("/openapi.json").json()
    parameters = document["paths"]["/candles/{symbol}"]["get"]["parameters"]
    described = {one["name"]: one for one in parameters}
    assert list(described) == ["symbol", "start", "end", "limit", "interval"]
    assert described["symbol"]["in"] == "path"
    assert described["limit"]["schema"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 5_000,
        "default": 1_000,
    }
    assert described["interval"]["schema"] == {"type": "string", "enum": ["1s"], "default": "1s"}
    assert described["start"]["schema"] == {
        "type": "integer",
        "minimum": 0,
        "maximum": 9_999_999_999_999,
    }
    assert all(one["description"] for one in parameters)
    assert not any(one["required"] for one in parameters if one["in"] == "query")


def test_a_header_that_is_read_is_documented() -> None:
    """The document of the stream names its query, and the header that a browser comes back with."""
    document = UNLIMITED.client().get("/openapi.json").json()
    parameters = document["paths"]["/events/candles"]["get"]["parameters"]
    assert [one["name"] for one in parameters if one["in"] == "query"] == list(PARAMETERS)
    assert [one["name"] for one in parameters if one["in"] == "header"] == ["Last-Event-ID"]


def test_a_route_without_limit_is_documented_so() -> None:
    """The document tells the limits that hold, not the defaults."""
    config = RestConfig(limits={"tick": "0", "ohlc": "5/minute"})
    paths = Hub(config).client().get("/openapi.json").json()["paths"]
    assert "Not limited." in paths["/tick/{symbol}"]["get"]["description"]
    assert "429" not in paths["/tick/{symbol}"]["get"]["responses"]
    assert "At most 5 per 1 minute" in paths["/ohlc/{symbol}"]["get"]["description"]


@pytest.mark.parametrize(
    ("source", "told"),
    [("simulated", "no price in it is real"), ("binance", "**binance**"), ("", "A self-hosted")],
)
def test_the_source_is_named_first(source: str, told: str) -> None:
    """The documentation starts with where the data comes from."""
    assert told in describe_service(source).partition("\n")[0]


def test_examples_are_json() -> None:
    """Every example of a JSON answer can be read."""
    for operation in OPERATIONS:
        if operation.media_type == "application/json":
            msgspec.json.decode(operation.example)


def test_a_title_cannot_break_the_page() -> None:
    """The title is text, whatever is in it."""
    page = Hub(RestConfig(default_limit="0", title="<script>")).client().get("/docs").text
    assert "<title>&lt;script&gt;" in page
