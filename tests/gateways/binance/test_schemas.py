"""What the documentation of the mirror says of its answers."""

from __future__ import annotations

import jsonschema
import pytest

from app.binance.server.endpoints import ENDPOINTS
from app.gateways.binance.schemas import ANSWERS, ERROR


def test_every_call_has_a_schema_that_is_one():
    """No call is left out, and each schema is valid by itself."""
    assert set(ANSWERS) == set(ENDPOINTS)
    for schema in [*ANSWERS.values(), ERROR]:
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        pytest.param("time", {}, id="a field is missing"),
        pytest.param("time", {"serverTime": "1"}, id="a text for a number"),
        pytest.param("klines", [[1, "2"]], id="a row that is too short"),
        pytest.param("ticker/price", {"symbol": "A", "price": 1.5}, id="a number for a price"),
        pytest.param("depth", {"lastUpdateId": 1, "bids": [["1"]], "asks": []}, id="half a level"),
    ],
)
def test_a_wrong_answer_is_found(name, wrong):
    """The schemas are strict enough to find what clients would stumble over."""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, ANSWERS[f"/api/v3/{name}"], jsonschema.Draft202012Validator)
