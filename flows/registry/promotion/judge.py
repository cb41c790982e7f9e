"""Champion and challenger scored now, in one process, on the same test split, for the gate."""

from pathlib import Path

from flows.datasets.files import PREPARED
from flows.registry.loading import LoadedVersion, load_version
from flows.registry.promotion.aliases import edit_aliases
from flows.registry.promotion.commands import Judgement
from flows.tracking.store import Tracking
from models.config.policies import GateParams
from models.datasets.class_order import reorder_columns
from models.datasets.prepared import Manifest, Split, open_split, read_manifest
from models.errors import InputError, PitchpipeError
from models.gate.records import ChampionUnusable, GateInput, images_in_both


def judge(
    tracking: Tracking, version: int, gate: GateParams, *, prepared: Path = PREPARED
) -> Judgement:
    """Ask the gate whether a version may replace today's champion, on today's test split.

    Raises as `load_version` does for the version; a champion that cannot be loaded is the gate's
    business.
    """
    from models.gate import decide  # noqa: PLC0415 - scipy and scikit-learn, for judging only

    with edit_aliases(tracking) as held:
        held.require_agreement()
        champion = held.champion
    manifest = read_manifest(prepared)
    test = open_split(prepared, "test", verify=True)
    challenger = _scored(load_version(tracking, version), test, manifest)
    if isinstance(challenger, ChampionUnusable):
        raise PitchpipeError(
            f"version {version} {challenger.reason}; prepare the data it was trained on, or "
            "`pitchpipe run`"
        )
    against = None if champion is None else _champion(tracking, champion, test, manifest=manifest)
    return Judgement(version, champion, decide(challenger, against, gate))


def _champion(
    tracking: Tracking, champion: int, test: Split, *, manifest: Manifest
) -> GateInput | ChampionUnusable:
    try:
        return _scored(load_version(tracking, champion), test, manifest)
    except PitchpipeError as error:
        return ChampionUnusable(reason=str(error))


def _scored(loaded: LoadedVersion, test: Split, manifest: Manifest) -> GateInput | ChampionUnusable:
    """What a version says of the test split, by today's classes in today's order."""
    lineage = loaded.files.lineage
    if test.images.shape[1:] != lineage.image_shape:
        return ChampionUnusable(
            reason=f"takes images of {lineage.image_shape}, the test split has "
            f"{test.images.shape[1:]}"
        )
    try:
        probabilities = reorder_columns(
            loaded.predict(test.images), lineage.classes, manifest.classes
        )
    except InputError as error:
        return ChampionUnusable(reason=str(error))
    return GateInput(
        probabilities=probabilities,
        labels=test.labels,
        test_digest=manifest.splits["test"].digest,
        classes=manifest.classes,
        image_shape=lineage.image_shape,
        trained_on_test=images_in_both(loaded.files.trained_ids, test.ids),
        weights_megabytes=loaded.files.weights_bytes / 1e6,
    )
