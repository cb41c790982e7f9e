"""How often does a year of looks at drift cry wolf, and what does it see? Simulated.

Usage: python bench/drift_year.py [--years N] [--output bench/results/drift_year.txt]
(half an hour)

Images are drawn from one distribution, the reference too: brightness, contrast, confidence,
predicted classes and an embedding of 8 features. Each look is `models.monitoring.report.compare`.

Before: each look at 5 %, on all images since the last retraining together, against the validation
images. After: each look at its level of a year, on new images (with the newest of the earlier ones
up to drift.window_images), and an alarm's images join what is compared with. In both the alarm
makes a retraining that promotes nothing, as one about unchanged images should. The tests are those
of today in both; the embedding's was another.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from itertools import chain
from pathlib import Path

import numpy as np
from scipy import stats

from models.config import DriftParams
from models.config.policies import DRIFT_TESTS
from models.monitoring.records import DriftReport, threshold_of
from models.monitoring.report import compare
from models.monitoring.sample import Sample, gather

CLASSES = [str(label) for label in range(10)]
BEFORE = DriftParams(significance=0.05 / 0.75, looks=1, minimum_effect=0, permutations=199)
"""Each look at 5 %."""
AFTER = DriftParams(permutations=199)
UNBOUNDED = AFTER.model_copy(update={"minimum_effect": 0.0})
"""Levels alone: any shift that is shown is drift."""


def drawn(count: int, source: np.random.Generator, *, shift: float = 0.0) -> Sample:
    """Draw images; shift: of brightness and of one feature, in standard deviations."""
    embeddings = source.normal(size=(count, 8))
    embeddings[:, 0] += shift
    return Sample(
        ids=source.integers(256, size=(count, 32)).astype(np.uint8),
        times=np.ones(count, np.int64),
        brightness=source.normal(100 + 20 * shift, 20, count),
        contrast=source.gamma(9, 5, count),
        embeddings=embeddings,
        predicted=source.integers(10, size=count),
        confidence=source.beta(8, 1, count),
        labels=np.full(count, -1),
    )


def newest(sample: Sample, count: int) -> Sample:
    """Keep the last so many images."""
    return Sample(**{each.name: getattr(sample, each.name)[-count:] for each in fields(Sample)})


def joined(*samples: Sample) -> Sample:
    """Put images one after another."""
    return Sample(
        **{
            each.name: np.concatenate([getattr(sample, each.name) for sample in samples])
            for each in fields(Sample)
        }
    )


@dataclass
class Project:
    """A reference, and looks at images that arrive."""

    reference: Sample
    params: DriftParams
    pool: Sample | None = None
    """Images since the last retraining."""
    looks: int = 0
    alarms: list[int] = field(default_factory=list)
    """Numbers of the looks."""

    @property
    def grows(self) -> bool:
        """Whether looks are as they were."""
        return self.params is BEFORE

    def look(self, images: Sample) -> DriftReport:
        """Look at new images; an alarm is answered by a retraining that promotes nothing."""
        self.looks += 1
        self.pool = images if self.pool is None else joined(self.pool, images)
        seen = self.pool
        if not self.grows:
            seen = newest(self.pool, max(len(images), self.params.window_images))
        batch = gather([seen], most=self.params.most_images)
        report = compare(self.reference, batch, self.params, classes=CLASSES, look=self.looks)
        if report.drift:
            self.alarms.append(self.looks)
            self.pool = None
            if not self.grows:
                self.reference = gather([self.reference, batch], most=self.params.most_images)
        return report


RULES = (("before", BEFORE), ("after", AFTER), ("after, effect 0", UNBOUNDED))


def year_row(
    reference: int, images: int, looks: int, years: int, rule: tuple[str, DriftParams]
) -> str:
    """Share of years of unchanged images with any alarm, and alarms a year."""
    name, params = rule
    alarms = []
    for year in range(years):
        source = np.random.default_rng([reference, images, year])
        project = Project(drawn(reference, source), params)
        for _ in range(looks):
            project.look(drawn(images, source))
        alarms.append(len(project.alarms))
    share = float(np.mean(np.array(alarms) > 0))
    error = (share * (1 - share) / years) ** 0.5
    return (
        f"  {reference:>9,} {images:>7,} {looks:>6}  {name:<16}{years:>6,}"
        f"{100 * share:8.1f} +- {100 * error:.1f} %{np.mean(alarms):8.2f}"
    )


def next_row(reference: int, images: int, wanted: int, rule: tuple[str, DriftParams]) -> str:
    """Share of false alarms after which the next unchanged images alarm as well."""
    name, params = rule
    source, again, first, tried = np.random.default_rng([reference, images]), 0, 0, 0
    while first < wanted and tried < 60 * wanted:
        tried += 1
        project = Project(drawn(reference, source), params)
        if project.look(drawn(images, source)).drift:
            first += 1
            again += project.look(drawn(images, source)).drift
    share = again / max(first, 1)
    return (
        f"  {reference:>9,} {images:>7,}  {name:<16}{first:>4} in {tried:>5,}{100 * share:8.0f} %"
    )


def power_row(shift: float, start: int, years: int, rule: tuple[str, DriftParams]) -> str:
    """Share of years in which a shift from a look on is called drift, by when."""
    name, params = rule
    waits = []
    for year in range(years):
        source = np.random.default_rng([1, year])
        project = Project(drawn(2000, source), params)
        # As after so many looks without an alarm.
        project.looks, project.pool = start, drawn(200 * start, source) if start else None
        waits.append(next((at for at in range(1, 31) if _alarms(project, source, shift)), 99))
    found = np.array(waits)
    by = "".join(f"{100 * np.mean(found <= at):8.0f} %" for at in (1, 3, 7, 30))
    return f"  {shift:>8.2f} {start + 1:>6}  {name:<16}{years:>6,}{by}"


def _alarms(project: Project, source: np.random.Generator, shift: float) -> bool:
    return project.look(drawn(200, source, shift=shift)).drift


def answer_row(shift: float, repeats: int, rule: tuple[str, DriftParams]) -> str:
    """Answers about 10,000 images against 10,000."""
    name, params = rule
    answers = []
    for repeat in range(repeats):
        source = np.random.default_rng([2, repeat])
        project = Project(drawn(10_000, source), params)
        answers.append(project.look(drawn(10_000, source, shift=shift)).answer)
    shares = "".join(
        f"{100 * answers.count(answer) / repeats:12.0f} %"
        for answer in ("drift", "shift seen, too small to act on", "no drift")
    )
    return f"  {shift:>8.2f}  {name:<16}{repeats:>6}{shares}"


def means_row(reference: int, images: int, looks: int, years: int) -> str:
    """Share of years with any alarm where each test compares means; five independent tests."""
    source = np.random.default_rng([reference, images, looks])
    alarms = {"fresh": np.zeros(years, bool), "levels": np.zeros(years, bool)}
    known = source.normal(0, reference**-0.5, (years, DRIFT_TESTS))
    for look in range(1, looks + 1):
        apart = np.abs(source.normal(0, images**-0.5, (years, DRIFT_TESTS)) - known)
        smallest = 2 * stats.norm.sf(apart.max(axis=1) / (1 / reference + 1 / images) ** 0.5)
        alarms["fresh"] |= smallest <= AFTER.significance / DRIFT_TESTS
        alarms["levels"] |= smallest <= threshold_of(look, AFTER)
    columns = "".join(f"{100 * found.mean():10.1f} %" for found in alarms.values())
    return f"  {reference:>9,} {images:>7,} {looks:>6} {years:>7,}{columns}"


def means_table(years: int) -> Iterator[str]:
    """Years of tests of means."""
    yield "Years of looks at new, unchanged images each, with any false alarm: each look at 5 %"
    yield "(fresh), and at its level of a year; five tests of means, one reference for all looks."
    yield "  reference  images  looks   years       fresh      levels"
    for reference, images, looks in (
        (360, 200, 365),
        (2000, 200, 365),
        (2000, 200, 52),
        (10_000, 10_000, 52),
        (360, 10_000, 52),
    ):
        yield means_row(reference, images, looks, 40 * years)


def years_table(years: int) -> Iterator[str]:
    """Years of whole reports."""
    yield "The same with the whole of looks, tests and retrainings:"
    yield "  reference  images  looks  rule             years   any alarm      alarms a year"
    for reference, images, looks, count in (
        (500, 100, 52, years),
        (500, 100, 365, max(years // 10, 1)),
    ):
        for rule in RULES:
            yield year_row(reference, images, looks, count, rule)


def next_table(years: int) -> Iterator[str]:
    """What a false alarm does to the next look."""
    yield "After a false alarm at the first look: are the next unchanged images an alarm, too?"
    yield "  reference  images  rule           alarms in tries   next"
    for rule in (RULES[0], RULES[2]):
        yield next_row(360, 10_000, max(years // 20, 1), rule)


def power_table(years: int) -> Iterator[str]:
    """When a true shift is found."""
    yield "A shift of brightness and one feature, in standard deviations, from a look on; 200"
    yield "images a look, 2,000 in the reference. Drift was called within so many looks:"
    yield "     shift   from  rule             years       1         3         7        30"
    for shift in (0.15, 0.3, 0.5, 1.0):
        for start in (0, 100):
            for rule in RULES[:2]:
                yield power_row(shift, start, max(years // 20, 1), rule)


def size_table(years: int) -> Iterator[str]:
    """What is said of small shifts."""
    yield "10,000 images against 10,000, shifted by so many standard deviations, first look:"
    yield "     shift  rule              times       drift    too small    no drift"
    for shift in (0.0, 0.06, 0.1, 0.2):
        for rule in RULES[:2]:
            yield answer_row(shift, max(years // 20, 1), rule)


TABLES = {
    "means": means_table,
    "years": years_table,
    "next": next_table,
    "power": power_table,
    "size": size_table,
}


def main() -> None:
    """Print the tables as they come, and write them where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--years", type=int, default=1000)
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    written = [
        f"python bench/drift_year.py --years {asked.years} --tables {' '.join(asked.tables)}"
    ]
    for name in asked.tables:
        for line in chain(TABLES[name](asked.years), [""]):
            print(line, flush=True)
            written.append(line)
    if asked.output:
        asked.output.write_text("\n".join(written).rstrip() + "\n")


if __name__ == "__main__":
    main()
