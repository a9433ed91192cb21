"""Diagnostics of `factwire doctor`: checks of the database and of the running service, each with a proposed change."""
