"""All SQL. Functions over a connection."""
