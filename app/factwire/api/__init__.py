"""Floor 3: HTTP. One module per resource; no SQL."""
