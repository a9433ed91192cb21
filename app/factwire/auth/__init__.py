"""Authentication: API keys, JSON Web Tokens of an issuer (JWT), tickets and sessions. Neither HTTP nor SQL."""
