"""Credentials: whose they are, what they grant, and how long they hold. No HTTP server, no SQL."""
