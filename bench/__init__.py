"""Service and floor measured side by side, in one run, on one machine."""
