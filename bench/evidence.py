"""Evidence for what pitchpipe promises of its statistics: a section of one file for each part.

Usage: python bench/evidence.py --part NAME [--repeats N] [--output bench/results/evidence.txt]

A part is a module of bench/parts with a function `lines(repeats)`, which measures, and returns its
section. Of the output only that part's section is replaced.
"""

from __future__ import annotations

import argparse
import importlib
import re
from pathlib import Path

PARTS = {
    "slices": "false alarms and power of slices, the search for clusters included",
}
"""Name of the part and of its module -> what it measures."""


def replaced(text: str, name: str, section: str) -> str:
    """Put a section under its part's heading; others stay as they are, in the order of PARTS."""
    found = re.split(r"^== (\w+) ==\n", text, flags=re.MULTILINE)
    sections = dict(zip(found[1::2], found[2::2], strict=True)) | {name: section}
    order = sorted(sections, key=lambda one: ([*PARTS, one].index(one), one))
    return "\n".join(f"== {one} ==\n{sections[one].strip()}\n" for one in order)


def main() -> None:
    """Measure a part, print it, and write its section where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=PARTS, required=True)
    parser.add_argument("--repeats", type=int, default=1000, help="Simulated splits.")
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    lines = importlib.import_module(f"parts.{asked.part}").lines(asked.repeats)
    command = f"python bench/evidence.py --part {asked.part} --repeats {asked.repeats}"
    section = "\n".join([command, PARTS[asked.part], *lines])
    print(section)
    if asked.output:
        before = asked.output.read_text() if asked.output.exists() else ""
        asked.output.write_text(replaced(before, asked.part, section))


if __name__ == "__main__":
    main()
