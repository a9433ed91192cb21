"""Factwire: an event store over plain HTTP, on PostgreSQL."""

__version__ = "0.1.0"
