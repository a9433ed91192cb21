"""factwire doctor: checks of the database and of the running service, each with what to change."""
