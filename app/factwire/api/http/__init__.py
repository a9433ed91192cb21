"""What resources share: authorization, bodies, JSON, parameters, problems, compression, Server-Sent Events."""
