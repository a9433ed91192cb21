"""Command-line interface: one module per command, named after the command."""
