"""Authentication: API keys, tokens of an issuer (JWT), tickets and sessions. Neither HTTP nor SQL."""
