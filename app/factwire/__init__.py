"""Factwire: facts over plain HTTP, kept in PostgreSQL."""

__version__ = "0.1.0"
