"""Near duplicates: pictures that are nearly another one, found, reported and kept together."""

from models.datasets.near_duplicates.held_out import NearDuplicates, near_duplicates

__all__ = ["NearDuplicates", "near_duplicates"]
