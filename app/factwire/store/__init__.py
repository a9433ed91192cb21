"""Floor 1: PostgreSQL. The only floor with SQL; functions take the connection first."""
