"""Composition root: builds all components of one process, and the application that contains them."""
