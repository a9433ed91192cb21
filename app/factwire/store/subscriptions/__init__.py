"""Subscriptions in the database."""
