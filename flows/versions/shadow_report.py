"""The report of a shadow: how often two versions agree, on what not, and which is right there."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from flows.records.shadow_log import (
    COUNTS,
    SHADOWS,
    Disagreement,
    ShadowCounts,
    add_labels,
    folder_of,
    read_disagreements,
)
from flows.registry.promotion.shadow import labelled_disagreements, shadow_test
from models.config import Record, read_record
from models.config.policies import GateParams
from models.errors import ConfigError, InputError
from models.evaluation.records import Interval
from models.evaluation.report.pictures import Card, picture_of
from models.evaluation.report.templates import render
from models.evaluation.uncertainty.intervals import wilson
from models.files import write_text
from models.gate.shadow import ShadowTest

SHOWN = 72
ID = 16
"""Hex digits of a print by which people name an image."""


class ClassAgreement(Record):
    """Images that the champion gives one class."""

    name: str
    images: int
    agreed: int
    interval: Interval
    """95 %, of the share agreed."""


class ShadowReport(Record):
    """What differs between a champion and its challenger on what users asked."""

    counts: ShadowCounts
    agreement: float
    interval: Interval
    """95 %, Wilson."""
    classes: tuple[ClassAgreement, ...]
    """By the champion's class, the least agreed first."""
    logged: int
    """Images in the log."""
    test: ShadowTest
    page: str
    """Path of the HTML sheet, the most surprising images first."""

    @property
    def sentence(self) -> str:
        """The agreement in words."""
        low, high = (100 * bound for bound in (self.interval.low, self.interval.high))
        return (
            f"{self.counts.name}: version {self.counts.challenger} gives the class of version "
            f"{self.counts.champion} to {self.counts.agreed:,} of {self.counts.images:,} images, "
            f"{100 * self.agreement:.2f} % ({low:.2f} to {high:.2f} %)"
        )


def report_shadow(name: str, gate: GateParams, *, labels: Path | None = None) -> ShadowReport:
    """Report the last shadow of a registered name, and write its sheet beside its log.

    labels: CSV with the columns image (as the sheet names it) and label; they are kept.
    Raises ConfigError where there is no log, InputError for a file that does not fit it.
    """
    counts = _last(name)
    folder = folder_of(name, champion=counts.champion, challenger=counts.challenger)
    found = read_disagreements(folder)
    if labels is not None:
        add_labels(folder, _read(labels, found))
    report = ShadowReport(
        counts=counts,
        agreement=counts.agreed / counts.images,
        interval=wilson(counts.agreed, counts.images),
        classes=tuple(_by_class(counts)),
        logged=len(found),
        test=shadow_test(name, champion=counts.champion, challenger=counts.challenger, gate=gate),
        page=str(folder / "report.html"),
    )
    true = {one.image: label for one, label in labelled_disagreements(folder)}
    cards = [_card(one, true.get(one.image)) for one in surprising(found)[:SHOWN]]
    write_text(Path(report.page), render("shadow.html.j2", report=report, cards=cards))
    return report


def surprising(found: Sequence[Disagreement]) -> list[Disagreement]:
    """Sort disagreements, those first of which the less certain version is the surest."""
    return sorted(found, key=lambda one: -min(one.champion.probability, one.challenger.probability))


def _last(name: str) -> ShadowCounts:
    files = sorted(SHADOWS.glob(f"{name}/*/{COUNTS}"), key=lambda path: path.stat().st_mtime)
    counts = read_record(files[-1], ShadowCounts) if files else None
    if counts is None or counts.images == 0:
        raise ConfigError(
            f"{SHADOWS / name}: holds no shadow's log; `pitchpipe serve --shadow challenger` "
            "writes one as it answers"
        )
    return counts


def _by_class(counts: ShadowCounts) -> Iterator[ClassAgreement]:
    images: dict[str, int] = {}
    agreed: dict[str, int] = {}
    for champion, challenger, count in counts.cells:
        images[champion] = images.get(champion, 0) + count
        agreed[champion] = agreed.get(champion, 0) + count * (champion == challenger)
    for name in sorted(images, key=lambda name: (agreed[name] / images[name], name)):
        interval = wilson(agreed[name], images[name])
        yield ClassAgreement(name=name, images=images[name], agreed=agreed[name], interval=interval)


def _read(path: Path, found: Sequence[Disagreement]) -> dict[str, str]:
    """Labels by print. Raises InputError for a file or a line that does not fit the log."""
    known = {one.image[:ID]: one.image for one in found}
    labels: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            if not {"image", "label"} <= set(rows.fieldnames or ()):
                raise InputError(f"{path}: has no columns image and label; write them in line 1")
            for row in rows:
                image, label = (str(row[key] or "").strip() for key in ("image", "label"))
                where = f"{path}, line {rows.line_num}"
                if image[:ID] not in known:
                    raise InputError(
                        f"{where}: image {image!r} is not in the log; take its name from the sheet"
                    )
                if not label:
                    raise InputError(f"{where}: has no label; leave the line out")
                labels[known[image[:ID]]] = label
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read ({error}); give a CSV file") from None
    return labels


def _card(one: Disagreement, label: str | None) -> Card:
    said = [
        f"champion: {one.champion.label} ({100 * one.champion.probability:.0f}\u00a0%)",
        f"challenger: {one.challenger.label} ({100 * one.challenger.probability:.0f}\u00a0%)",
        one.image[:ID],
    ]
    return Card(picture=picture_of(one.picture()), true=label or "not labelled", said=tuple(said))
