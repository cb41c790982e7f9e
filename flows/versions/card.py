"""Model card of a version, in Markdown (Mitchell et al., 2019, Model cards for model reporting)."""

from collections.abc import Iterator

from flows.records import ledger
from flows.records.ledger import Entry
from flows.registry.loading import VersionFiles
from models.evaluation.records import Evaluation
from models.evaluation.report.page import list_scores
from models.evaluation.slices.records import SliceReport

_MOST_CLASSES = 20


def card_of(files: VersionFiles) -> str:
    """Describe a version: use, data, limits, scores, verdict, environment, lineage.

    Raises IntegrityError where its files were written by another release.
    """
    record = files.record
    parts = (
        f"# {record.name}, version {record.version}",
        "\n".join(_use(files)),
        "\n".join(["## Data", "", *_data(files)]),
        "\n".join(["## Scores", "", *_scores(files.evaluation)]),
        "\n".join(["## Limits", "", *_limits(files), *_slices(files.slices)]),
        "\n".join(["## Verdict", "", *_verdict(ledger.read().of(record.name), record.version)]),
        "\n".join(["## Environment", "", *_environment(files)]),
        "\n".join(["## Lineage", "", *_lineage(files)]),
    )
    return "\n\n".join(parts) + "\n"


def _use(files: VersionFiles) -> Iterator[str]:
    lineage = files.lineage
    channels, height, width = lineage.image_shape
    colour = "grey" if channels == 1 else "colour"
    yield "## Intended use"
    yield ""
    yield (
        f"Names the class of a {colour} image, of {len(lineage.classes):,} classes. It takes "
        f"images of {height} x {width} pixels ({lineage.resize}, {lineage.interpolation}) of the "
        "kind that it was trained on. It has no class for anything else, and names one all the "
        "same."
    )


def _data(files: VersionFiles) -> Iterator[str]:
    lineage, evaluation = files.lineage, files.evaluation
    names = ", ".join(map(_plain, lineage.classes[:_MOST_CLASSES]))
    more = len(lineage.classes) - _MOST_CLASSES
    yield f"- dataset {_plain(lineage.dataset.name)}, `{lineage.dataset.digest}`"
    yield f"- trained or selected on {lineage.trained_images:,} images, tested on {evaluation.n:,}"
    yield f"- classes: {names}{f' and {more:,} more' if more > 0 else ''}"


def _scores(evaluation: Evaluation) -> Iterator[str]:
    yield f"On {evaluation.n:,} test images, used for neither training nor selection:"
    yield ""
    yield "| score | value | 95 % interval | meaning |"
    yield "|---|---|---|---|"
    for one in list_scores(evaluation):
        span = f"{one.interval.low:.4f} to {one.interval.high:.4f}" if one.interval else ""
        yield f"| {one.name} | {one.value:.4f} | {span} | {one.meaning} |"


def _limits(files: VersionFiles) -> Iterator[str]:
    evaluation = files.evaluation
    seen = [one for one in evaluation.per_class if one.support]
    for one in sorted(seen, key=lambda one: (one.recall, one.name))[:3]:
        interval = one.intervals.get("recall")
        span = f" ({interval.low:.3f} to {interval.high:.3f})" if interval else ""
        yield f"- recall of {_plain(one.name)}: {one.recall:.3f}{span}, {one.support:,} test images"
    if evaluation.absent:
        yield f"- {_plain(evaluation.f1_scope)} in the test split: nothing is known of them"
    yield f"- calibration error {evaluation.ece:.4f}: so far confidences are from what they say"
    yield (
        "- scores hold for images drawn as these were; `pitchpipe monitor` says whether new ones "
        "still are"
    )


def _slices(report: SliceReport | None) -> Iterator[str]:
    """One line: the worst slice that is worse than the rest beyond chance, or that none is."""
    if report is None or not report.slices:
        return
    tested = f"of {len(report.slices)} slices, 5 % for all of them"
    if report.worst is None:
        yield f"- no slice of the test images is worse than the rest beyond chance ({tested})"
    else:
        yield f"- weakest slice: {_plain(report.worst.sentence)} ({tested})"


def _verdict(entries: tuple[Entry, ...], version: int) -> Iterator[str]:
    """The newest entry of the ledger that decided about the version."""
    about = [
        one
        for one in entries
        if one.after == version and one.action not in ("intent", "abandon", "decision")
    ]
    if not about:
        yield "The ledger says nothing of this version."
        return
    newest = about[-1]
    against = f" against version {newest.before}" if newest.before else ""
    yield f"**{newest.verdict or newest.action}**{against}, {newest.time[:10]}:"
    yield ""
    yield from (f"- {_plain(reason)}" for reason in newest.reasons)


def _environment(files: VersionFiles) -> Iterator[str]:
    for package, version in sorted(files.lineage.environment.items()):
        yield f"- {package} {version}"


def _lineage(files: VersionFiles) -> Iterator[str]:
    lineage = files.lineage
    commit = lineage.code.commit or "not in git"
    changed = ", with uncommitted changes" if lineage.code.dirty else ""
    network = lineage.spec.config.network.name
    yield f"- network {network}, epoch {lineage.result.best_epoch}, seed {lineage.spec.config.seed}"
    yield f"- trial `{lineage.result.key}`"
    yield f"- weights `{lineage.result.weights_digest}`"
    yield f"- code `{commit}`{changed}, training source `{lineage.spec.source}`"
    again = "one as good again, not its bits" if lineage.spec.config.is_asynchronous else "it again"
    yield f"- registered {lineage.created}; `pitchpipe reproduce` makes {again}"


def _plain(text: str) -> str:
    """Keep a name from being Markdown or HTML."""
    for mark in "\\`*_[]<>|":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())
