"""Tests of app.market.position."""
