"""Floor 0: what the service means. Standard library only; no I/O, no async."""
