"""Limits of one process: rate limiter, quotas and connections, by client address or principal."""
