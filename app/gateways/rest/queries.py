"""Reads the parameters in the query of a call: each once, known by name, strictly checked."""

from __future__ import annotations

from typing import TypeVar

import pydantic
from pydantic import BaseModel
from starlette.requests import Request

from app.gateways.rest.answers import Refused, shown

Model = TypeVar("Model", bound=BaseModel)

INVALID = "InvalidParameter"
"""The error of a call whose parameters cannot be used."""


def read_query(request: Request, model: type[Model]) -> Model:
    """Return the parameters of `request` as a `model`; raise `Refused` (400) for the first bad one.

    The texts go to the model as they came, so its validators say what they expect.
    """
    given: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in model.model_fields:
            known = ", ".join(model.model_fields)
            unknown = f"{shown(name, 60)} is no parameter of this call, expected some of {known}"
            raise Refused(400, INVALID, unknown)
        if name in given:
            raise Refused(400, INVALID, f"{name} is given more than once, expected one")
        given[name] = value
    try:
        return model.model_validate(given)
    except pydantic.ValidationError as errors:
        problem = errors.errors(include_url=False, include_context=False)[0]
    expected = problem["msg"].removeprefix("Value error, ")
    got = shown(repr(problem["input"]), 60)
    raise Refused(400, INVALID, f"{problem['loc'][0]}: expected {expected}, got {got}")
