"""The composition root: builds every part of one process, and the application around them."""
