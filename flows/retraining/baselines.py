"""Baselines beside the selected trial: classifiers on pixels, and the article's fixed network."""

import logging
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from flows.datasets.current import manifest_of
from flows.retraining.evaluate import trained_trial
from flows.retraining.session import Session
from flows.search.tuning import Tuning
from models.config import TrialConfig
from models.datasets.prepared import open_split
from models.evaluation.inference import predict_probabilities
from models.trials import TrialFailure, TrialResult, TrialSpec

log = logging.getLogger(__name__)

ARTICLE = "the article's CNN"


def with_baselines(tuning: Tuning, session: Session) -> Tuning:
    """Score the baselines on validation, and the selected trial's lead over each; best first.

    The article's network is trained for as many epochs as a trial of the search, where the store
    has it not; images that it does not fit go without.
    Raises IntegrityError if weights or arrays do not match their digests.
    """
    from models.evaluation.baselines import (  # noqa: PLC0415 - slow, seldom asked
        MOST_IMAGES,
        baseline_of,
        by_accuracy,
        score_baselines,
    )

    prepared = session.dataset.prepared
    train, validation = (
        open_split(prepared, name, verify=True) for name in ("train", "validation")
    )
    images, labels = validation.images[:MOST_IMAGES], np.asarray(validation.labels[:MOST_IMAGES])
    selected = _probabilities(tuning.best, session, images).argmax(axis=1)
    classes = manifest_of(session.dataset).classes
    scored = score_baselines(train, validation, classes=classes, selected=selected)
    article = _train_article(tuning, session)
    if article is not None:
        predicted = _probabilities(article, session, images)
        beside = baseline_of(ARTICLE, predicted, labels, classes=classes, selected=selected)
        scored = by_accuracy((*scored, beside))
    return replace(tuning, baselines=scored)


def article_spec(selected: TrialSpec, config: TrialConfig) -> TrialSpec:
    """The article's fixed configuration on what a trial was trained on.

    That is all defaults: convolutions 32, 64, 64, dense 64; Adam at 0.001, minibatches of 32.
    config: of the params, whose seed and objective it has.
    """
    article = TrialConfig(seed=config.seed, objective=config.objective)
    return selected.model_copy(update={"config": article})


def _train_article(tuning: Tuning, session: Session) -> TrialResult | None:
    params = session.params
    selected, _ = next(tuning.ranked())
    spec = article_spec(selected.spec, params.trial)
    try:
        spec.config.network.check_fits(params.data.image_size)
    except ValueError as error:
        log.info("%s is left out of the baselines: %s", ARTICLE, error)
        return None
    outcome = session.train_alone(spec, budget=params.search.epochs, label=ARTICLE)
    if isinstance(outcome, TrialFailure):
        log.warning("%s is left out of the baselines: it failed (%s)", ARTICLE, outcome.reason)
        return None
    return outcome


def _probabilities(
    result: TrialResult, session: Session, images: NDArray[np.uint8]
) -> NDArray[np.float32]:
    trial = trained_trial(result, session.dataset)
    return predict_probabilities(trial.serving(), images, threads=trial.threads)
