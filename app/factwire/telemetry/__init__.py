"""What the service tells about itself: log lines, metrics and traces. Imports nothing of ours."""
