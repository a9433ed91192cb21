"""How facts get into the log: queue, batches, append, outcomes."""
