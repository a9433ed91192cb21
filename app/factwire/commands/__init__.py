"""The commands: one module each, whose parser is cheap to build; what a command needs is imported when it runs."""
