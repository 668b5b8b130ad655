"""The REST service: routes, shapes, limits, errors."""
