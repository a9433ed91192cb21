"""Limits of one process: rates, quotas and connections, by client address or principal."""
