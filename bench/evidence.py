"""Evidence by part: `python bench/evidence.py value` renews its section of results/evidence.txt.

A part is a module of bench/parts/ with `measure() -> Iterator[str]`, the lines of its table.
"""

import argparse
import importlib
import re
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "evidence.txt"
PARTS = sorted(path.stem for path in (Path(__file__).parent / "parts").glob("[!_]*.py"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=PARTS)
    part = parser.parse_args().part
    lines = []
    for line in importlib.import_module(f"parts.{part}").measure():
        print(line, flush=True)
        lines.append(line)
    RESULTS.write_text(renewed(RESULTS.read_text() if RESULTS.exists() else "", part, lines))


def renewed(text: str, part: str, lines: list[str]) -> str:
    """Put the section of one part in place of its earlier one; sections are in order of parts."""
    sections = dict(re.findall(r"^== (\w+) ==\n(.*?)(?=^== |\Z)", text, re.DOTALL | re.MULTILINE))
    sections[part] = "\n".join(lines) + "\n\n"
    return "".join(f"== {name} ==\n{body}" for name, body in sorted(sections.items()))


if __name__ == "__main__":
    main()
