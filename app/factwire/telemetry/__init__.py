"""Logs, metrics and traces. Imports nothing of the service."""
