"""Formatting of pydantic's validation errors."""

from pydantic_core import ErrorDetails


def rule_of(fault: ErrorDetails) -> str:
    """Return the rule that a value violates, in one line."""
    return fault["msg"].removeprefix("Value error, ")
