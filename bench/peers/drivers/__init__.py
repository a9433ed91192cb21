"""The client of each peer: a process of its own that does one phase of the workload and prints what it found."""
