"""HTTP layer: authorization, bodies, JSON, parameters, problems, compression, Server-Sent Events."""
