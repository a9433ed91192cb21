"""Peers that a laptop can install, measured beside Factwire and its floor in one run."""
