"""Upkeep of a project: doctor and garbage collection."""
