"""Generation of the OpenAPI document from the routes and the structs of the models."""
