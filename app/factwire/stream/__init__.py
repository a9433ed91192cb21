"""Floor 2: what lives in one process: publisher, tail, listener, following. No SQL, no HTTP."""
