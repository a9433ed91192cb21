"""Verification of the log against its hash chain, postings and catalogue."""
