"""Server process: sockets, TLS, uvicorn, workers."""
