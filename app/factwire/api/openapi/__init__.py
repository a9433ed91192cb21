"""The OpenAPI document, built from the routes and the structs of the models."""
