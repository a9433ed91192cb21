"""ASGI middleware: request ids, allowed hosts, CORS."""
