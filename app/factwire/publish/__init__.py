"""Publishing of facts to the log: intake, fair queue, group commit, payload encryption, outcomes."""
