"""Monitoring: whether images have become others than those that a version was made of."""
