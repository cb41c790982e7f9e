"""Scores by slice of the test images: where a version errs."""
