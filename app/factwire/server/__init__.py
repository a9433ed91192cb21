"""The server process: sockets, TLS, uvicorn, workers."""
