"""What pydantic finds wrong, in words for people."""

from pydantic_core import ErrorDetails


def rule_of(fault: ErrorDetails) -> str:
    """Say the rule that a value broke, in one line."""
    return fault["msg"].removeprefix("Value error, ")
