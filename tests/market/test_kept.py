"""Tests of app.market.kept."""
