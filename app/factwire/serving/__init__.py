"""The processes and their connections: what the application runs on."""
