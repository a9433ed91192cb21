"""Subscriptions: the service keeps the cursor, and workers claim facts and acknowledge them."""
