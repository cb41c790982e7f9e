"""Champion and challenger scored now, in one process, on the same test images, for the gate."""

from dataclasses import dataclass

import numpy as np

from flows.datasets.files import PREPARED
from flows.records.looks import past_looks
from flows.records.promotion import Judgement
from flows.registry.loading import LoadedVersion, VersionFiles, load_version
from flows.registry.promotion.aliases import edit_aliases
from flows.registry.splits import open_split_for
from flows.tracking.store import Tracking
from models.config.policies import GateParams
from models.datasets.by_id import among, prints_of
from models.datasets.class_order import widen_columns
from models.datasets.prepared import Manifest, Split, digest_array, open_split, read_manifest
from models.digests import digest_of
from models.errors import InputError, PitchpipeError
from models.gate.budget import looks_taken
from models.gate.inputs import ChampionUnusable, GateInput
from models.gate.records import UnseenImages

_MOST_UNSEEN = 5000
"""Of either split."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """A judgement, and the predictions that it rests on, in the order of the test split."""

    judgement: Judgement
    challenger: GateInput
    champion: GateInput | ChampionUnusable | None

    @property
    def rival(self) -> GateInput | None:
        """The champion's predictions; None: there is none, it cannot be scored, or it was weighed.

        A retraining that selects the champion's own trial again weighs it against itself.
        """
        another = self.judgement.champion != self.judgement.version
        return self.champion if another and isinstance(self.champion, GateInput) else None


def judge(tracking: Tracking, version: int, gate: GateParams) -> Judgement:
    """Ask the gate whether a version may replace today's champion; raises as `weigh` does."""
    return weigh(tracking, version, gate).judgement


def weigh(tracking: Tracking, version: int, gate: GateParams) -> Weighed:
    """Ask the gate whether a version may replace today's champion, on today's test split.

    Raises HandMovedError where the champion's alias was moved outside pitchpipe, and as
    `load_version` does for the version; where the champion cannot be scored, the gate holds.
    """
    from models.gate.verdict import decide  # noqa: PLC0415 - scipy, scikit-learn: to judge only

    with edit_aliases(tracking) as editor:
        editor.require_agreement()
        champion = editor.champion
        earlier = past_looks(editor.entries)
    manifest = read_manifest(PREPARED)
    loaded = load_version(tracking, version)
    try:
        challenger = _score_challenger(loaded, gate, manifest)
    except InputError as error:
        raise _not_fitting(loaded, error) from None
    against, unseen = _score_champion(tracking, champion, gate, manifest)
    images = len(challenger.labels)
    labels = _labels_digest(challenger)
    # The same pair again is no new look, it is judged as it was: unless images were relabelled.
    others = [
        look
        for look in earlier
        if (look.challenger, look.champion) != (version, champion)
        or look.labels not in (None, labels)
    ]
    looks = looks_taken(others, test_digest=challenger.test_digest, images=images)
    decision = decide(challenger, against, gate, looks=looks)
    facts = {"champion_unseen": unseen, "labels_digest": labels}
    decision = decision.model_copy(update=facts)
    judgement = Judgement(version=version, champion=champion, decision=decision)
    return Weighed(judgement=judgement, challenger=challenger, champion=against)


def _labels_digest(scored: GateInput) -> str:
    """Digest of the test images' labels by name: the numbers of classes change with others."""
    return digest_of([scored.classes[label] for label in scored.labels.tolist()])


def score_on_test(tracking: Tracking, version: str) -> GateInput:
    """Score a version or alias on today's test split as the gate would, without asking it.

    Raises as `load_version` does, and InputError where the test split does not fit the version.
    """
    loaded = load_version(tracking, version)
    try:
        return _score(loaded, GateParams(), read_manifest(PREPARED))
    except InputError as error:
        raise _not_fitting(loaded, error) from None


def _not_fitting(version: LoadedVersion, error: InputError) -> InputError:
    way_out = "prepare the data it was trained on, or `pitchpipe run`"
    return InputError(f"{version.files.called}: {error}; {way_out}")


def _score_challenger(version: LoadedVersion, gate: GateParams, manifest: Manifest) -> GateInput:
    """Raise InputError where it lacks a class, which it would never name."""
    scored = _score(version, gate, manifest)
    if scored.unknown:
        raise InputError(f"does not know class {', '.join(scored.unknown[:5])}")
    return scored


def _score_champion(
    tracking: Tracking, champion: int | None, gate: GateParams, manifest: Manifest
) -> tuple[GateInput | ChampionUnusable | None, UnseenImages | None]:
    """Score it on the test split, and on what it never saw."""
    if champion is None:
        return None, None
    try:
        loaded = load_version(tracking, champion)
        return _score(loaded, gate, manifest), _score_unseen(loaded, manifest)
    except PitchpipeError as error:
        return ChampionUnusable(reason=str(error)), None


def _score_unseen(version: LoadedVersion, manifest: Manifest) -> UnseenImages | None:
    """Score the champion on images of train and validation that it never saw, labelled as today.

    They came after it was trained, or `data.limit` left them out; none of them was ever in the test
    split that chose it, as splits do not move. Of many a sample, chosen by content.
    """
    if version.files.lineage.image_form != manifest.form:
        return None  # they would have to be made from the batches first
    known, count, right = version.files.lineage.classes, 0, 0
    for name in ("train", "validation"):
        split = open_split(PREPARED, name, verify=False)
        rows = np.flatnonzero(~among(split.ids, version.files.trained_ids))[:_MOST_UNSEEN]
        names = [manifest.classes[label] for label in split.labels[rows]]
        rows = rows[[one in known for one in names]]
        if len(rows):
            predicted = version.predict(np.asarray(split.images[rows])).argmax(axis=1)
            theirs = [known.index(one) for one in names if one in known]
            count, right = count + len(rows), right + int(np.sum(predicted == theirs))
    return UnseenImages(images=count, right=right) if count else None


def _score(version: LoadedVersion, gate: GateParams, manifest: Manifest) -> GateInput:
    """Predict the test split in the version's image form, by today's classes in today's order.

    Raises InputError where the version has classes that are not today's, or none of these, or the
    images cannot be made.
    """
    from models.evaluation.inference import measure_latency_ms  # noqa: PLC0415 - torch

    lineage = version.files.lineage
    test = open_split_for(lineage.image_form, "test")
    predicted = version.predict(test.images)
    probabilities, unknown = widen_columns(predicted, lineage.classes, manifest.classes)
    measured = gate.latency_ms is not None
    return GateInput(
        probabilities=probabilities,
        labels=test.labels,
        test_digest=digest_array(test.ids),
        classes=manifest.classes,
        trained_on_test=_seen(version.files, test),
        weights_megabytes=version.files.weights_bytes / 1e6,
        unknown=unknown,
        latency_ms=measure_latency_ms(version.network, test.images[:1]) if measured else None,
    )


def _seen(files: VersionFiles, test: Split) -> int:
    """Count the test images that a version was trained or selected on.

    By id, and by what it took: an image that is equal to one of these in the version's own form was
    seen, whatever the pictures were before. Versions of earlier releases are known by ids alone.
    """
    seen = among(test.ids, files.trained_ids)
    if files.trained_prints is not None:
        seen |= among(prints_of(test.images), files.trained_prints)
    return int(np.count_nonzero(seen))
