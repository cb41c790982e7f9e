"""Datasets: any image source to immutable batches, and batches to memory-mapped arrays."""
