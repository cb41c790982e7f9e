"""Fixtures of the fault tests."""

from stored_project import stored, warm

__all__ = ["stored", "warm"]
