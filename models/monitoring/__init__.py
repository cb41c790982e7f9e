"""Drift detection: compare images with those that a version was selected on, without labels."""
