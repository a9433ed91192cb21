"""Database schema of the log, and its migrations."""
