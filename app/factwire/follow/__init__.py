"""Delivery of facts to readers: the tail of the log, its ring, streams, fan-out, pages of history."""
