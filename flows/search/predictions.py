"""What trials of the store predict for validation: computed once, then kept beside the weights."""

import logging
from collections.abc import Sequence
from pathlib import Path

from flows.records.trial_store import directory_of
from models.datasets.prepared import open_split, read_manifest
from models.errors import IntegrityError
from models.evaluation.outcomes import Predictions, outcomes_of
from models.evaluation.stored_predictions import MOST_IMAGES, read_predictions, save_predictions
from models.trials import TrialResult

log = logging.getLogger(__name__)


def validation_predictions(
    results: Sequence[TrialResult], prepared: Path
) -> dict[str, Predictions]:
    """Key -> predictions of the trials whose weights are there; new ones are stored.

    Of the first 10,000 validation images, in the order of their digests. Raises IntegrityError
    where the arrays do not match their digests.
    """
    stored = {one.key: read_predictions(directory_of(one.key), one) for one in results}
    missing = [one for one in results if stored[one.key] is None]
    fresh = _predict(missing, prepared) if missing else {}
    both = ((one.key, stored[one.key] or fresh.get(one.key)) for one in results)
    return {key: found for key, found in both if found is not None}


def _predict(results: Sequence[TrialResult], prepared: Path) -> dict[str, Predictions]:
    """Key -> predictions; raises IntegrityError where the arrays do not match their digests."""
    from models.evaluation.inference import predict_probabilities  # noqa: PLC0415 - torch: 2 s
    from models.training.checkpoint import load_serving  # noqa: PLC0415 - torch as well

    manifest = read_manifest(prepared)
    split = open_split(prepared, "validation", verify=True)
    images, labels = split.images[:MOST_IMAGES], split.labels[:MOST_IMAGES]
    found: dict[str, Predictions] = {}
    for result in results:
        directory = directory_of(result.key)
        try:
            serving = load_serving(directory, result, manifest)
            probabilities = predict_probabilities(serving, images, threads=result.config.threads)
            found[result.key] = outcomes_of(probabilities, labels)
        except (IntegrityError, ValueError) as error:  # weights removed; logits that overflow
            log.info("trial %s is not among those compared: %s", result.key[:12], error)
        else:
            save_predictions(directory, result, found[result.key])
    return found
