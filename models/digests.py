"""Content digests of values, files and source code."""

import ast
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, JsonValue


def digest_of(value: JsonValue | BaseModel) -> str:
    """SHA-256 (hex) of the value's canonical JSON: sorted keys, no spaces, no NaN."""
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def digest_file(path: Path) -> str:
    """SHA-256 (hex) of the file's bytes, read in chunks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_source(files: Iterable[Path], *, relative_to: Path) -> str:
    """Digest of Python files by their syntax trees, without comments and docstrings.

    Changes of comments and docstrings do not change the digest; changes of code do.
    """
    trees = {
        path.relative_to(relative_to).as_posix(): ast.dump(_without_docstrings(path))
        for path in files
    }
    return digest_of(dict(sorted(trees.items())))


def _without_docstrings(path: Path) -> ast.Module:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            # Strings after fields are documentation, too, and have no effect.
            node.body = [
                statement
                for statement in node.body
                if not (
                    isinstance(statement, ast.Expr)
                    and isinstance(statement.value, ast.Constant)
                    and isinstance(statement.value.value, str)
                )
            ] or [ast.Pass()]
    return tree
