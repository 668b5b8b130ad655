"""Schemas: the strict body, and models that describe the real answers."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pydantic
import pytest

from app.gateways.rest.operations import OPERATIONS, Operation
from app.gateways.rest.schemas import AddSymbol, TickAnswer

WITH_MODEL = [operation for operation in OPERATIONS if operation.answer is not None]


@pytest.mark.parametrize(
    "body", [b"{}", b'{"symbol":1}', b'{"symbol":"a","x":1}', b'{"symbol":null}', b'["a"]']
)
def test_a_body_is_exactly_one_text(body: bytes) -> None:
    """Nothing is converted, nothing further is let in."""
    with pytest.raises(pydantic.ValidationError):
        AddSymbol.model_validate_json(body)


def test_numbers_are_documented_as_numbers() -> None:
    """A price is a JSON number, although it is a decimal here."""
    properties = TickAnswer.model_json_schema()["properties"]
    assert properties["price"]["type"] == "number"
    tick = TickAnswer.model_validate_json(OPERATIONS[5].example)
    assert tick.price == Decimal("53250.50")


@pytest.mark.parametrize("operation", WITH_MODEL, ids=lambda operation: operation.name)
def test_each_example_fits_its_model(operation: Operation) -> None:
    """The example of each operation has the fields of its model, and no other."""
    assert operation.answer is not None
    operation.answer.model_validate_json(operation.example)
    fields = msgspec.json.decode(operation.example)
    described = operation.answer.model_fields
    required = {name for name, field in described.items() if field.is_required()}
    assert required <= set(fields) <= set(described)
