"""Tests of app.market.holes."""
