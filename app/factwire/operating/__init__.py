"""What somebody who runs the service asks of the database and of the service: the work behind the commands."""
