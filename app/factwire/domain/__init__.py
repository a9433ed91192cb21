"""The meaning of facts, queries, conditions and cursors. No I/O, no framework, no driver."""
