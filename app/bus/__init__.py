"""The bus between the feed and everything downstream."""
