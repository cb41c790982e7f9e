"""How good a network is on held-out images, how sure that is, and a report a person can read."""
