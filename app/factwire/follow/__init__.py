"""How facts get out while they are published: tail, ring, streams, fan-out."""
