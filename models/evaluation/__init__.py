"""Scores of a network on held-out images with their intervals, and an HTML report."""
