"""HTTP API: one module per resource. Contains no SQL."""
