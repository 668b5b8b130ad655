"""The table of endpoints."""

from __future__ import annotations

import pytest

from app.binance.server.endpoints import ENDPOINTS, Kind


def test_an_endpoint_knows_what_it_reads_and_must_have():
    """By the rows of its parameters."""
    klines = ENDPOINTS["/api/v3/klines"]
    assert klines.mandatory == ("symbol", "interval")
    assert klines.reads == {"symbol", "interval", "startTime", "endTime", "timeZone", "limit"}
    assert ENDPOINTS["/api/v3/ping"].reads == frozenset()


@pytest.mark.parametrize("endpoint", ENDPOINTS.values(), ids=lambda endpoint: endpoint.path)
def test_every_row_is_whole(endpoint):
    """Something is said of each, no name stands twice, and choices and bounds fit."""
    assert endpoint.summary.endswith(".")
    assert endpoint.weight
    assert len(endpoint.reads) == len(endpoint.parameters)
    assert set(endpoint.one_of) <= endpoint.reads
    for parameter in endpoint.parameters:
        assert bool(parameter.choices) == (parameter.kind is Kind.CHOICE)
        assert not (parameter.mandatory and parameter.default)
        if parameter.choices and parameter.default:
            assert parameter.default in parameter.choices
        if parameter.name == "limit":
            assert 0 < int(parameter.default) <= parameter.most
