"""Domain model: facts, queries, conditions and cursors. No I/O, no framework, no driver."""
