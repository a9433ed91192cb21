"""ASGI middleware: request ids, guards (allowed hosts, CSRF protection) and CORS."""
