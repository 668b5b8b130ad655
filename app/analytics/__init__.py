"""Figures made of what the hub publishes: of books, and of the trades beside them."""
