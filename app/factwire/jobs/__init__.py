"""Background jobs of every process."""
