"""Prints the requirements of pyproject.toml, tests' included, without their upper limits.

For the weekly run that tells which limit could be lifted, and what will break where it is.
"""

import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet


def main() -> None:
    """Print a line for each."""
    text = (Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    for requirement in (Requirement(line) for group in groups for line in group):
        if requirement.name == project["name"]:  # the extras that one extra takes in
            continue
        floors = [str(one) for one in requirement.specifier if one.operator.startswith(">")]
        requirement.specifier = SpecifierSet(",".join(floors))
        sys.stdout.write(f"{requirement}\n")


if __name__ == "__main__":
    main()
