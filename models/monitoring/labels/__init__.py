"""Likely faults among labels: confident learning on out-of-sample probabilities."""
