"""Trials, retrainings and datasets as records, for tests of the mirror and the registry."""

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from flows.records.ledger import Action, Entry
from flows.records.lineage import CodeFacts, DatasetFacts
from flows.records.promotion import Judgement, Move, Promotion
from flows.records.retraining import Retraining
from flows.registry.records import Registration
from flows.tracking.events import FlowRunInfo
from models.config import Params, TrialConfig
from models.config.policies import Verdict
from models.decision import Decision
from models.evaluation.confusion import ConfusionMatrix
from models.evaluation.records import ClassScores, Evaluation, Interval
from models.gate.records import GateDecision, RuleResult
from models.networks import CnnConfig
from models.networks.serving import ServingNetwork
from models.optimizers import AdamConfig
from models.processes import ProcessIdentity
from models.trials import EpochRecord, Scores, TrialFailure, TrialResult, TrialSpec

NAME, BARS = "digits-classifier", "bars-classifier"
Command = Callable[..., tuple[int, str, str]]
"""Arguments -> exit code, standard output, standard error."""
CLASSES = ("zero", "one", "two")
DATASET = DatasetFacts(
    name="digits",
    digest="a" * 64,
    prepared_digest="b" * 64,
    dvc_md5="0123456789abcdef0123456789abcdef.dir",
)
NETWORK = CnnConfig(channels=(4, 4), hidden_units=8)
DEAD = ProcessIdentity(pid=2**22 - 7, started=1.0, host=os.uname().nodename)
"""A process that never was: numbers end below it."""


def flow_run_info(name: str = "2026-11-23 06:40 digits", **tags: str) -> FlowRunInfo:
    """A retraining on DATASET."""
    return FlowRunInfo(name=name, dataset=DATASET, params={"search.epochs": "2"}, tags=tags)


def trial_spec(learning_rate: float = 0.001) -> TrialSpec:
    """A trial; another learning rate makes another one."""
    return TrialSpec(
        config=TrialConfig(network=NETWORK, optimizer=AdamConfig(learning_rate=learning_rate)),
        dataset=DATASET.prepared_digest,
        source="c" * 64,
        versions={"torch": "2.13.0"},
    )


def epoch_record(epoch: int) -> EpochRecord:
    """An epoch; each is better than the one before."""
    return EpochRecord(
        epoch=epoch,
        train_loss=1 / epoch,
        train_accuracy=1 - 0.5 / epoch,
        validation_loss=1.1 / epoch,
        validation_accuracy=1 - 0.6 / epoch,
        validation_f1_macro=1 - 0.7 / epoch,
        learning_rate=0.001,
        seconds=0.5,
    )


def trial_result(spec: TrialSpec, epochs: int = 2) -> TrialResult:
    """A trial that was trained to its budget."""
    return TrialResult(
        key=spec.key,
        config=spec.config,
        budget=epochs,
        epochs=epochs,
        best_epoch=epochs,
        scores=Scores(accuracy=0.9, f1_macro=0.89, cross_entropy=0.3),
        seconds=1.0,
        checkpoint="best.ckpt",
        checkpoint_digest="d" * 64,
        weights_digest="e" * 64,
    )


def trial_failure(spec: TrialSpec) -> TrialFailure:
    """A trial whose loss stopped being finite."""
    return TrialFailure(
        key=spec.key,
        config=spec.config,
        budget=2,
        epochs=1,
        reason="loss is nan in epoch 2",
        kind="diverged",
    )


def serving_network(seed: int = 0, side: int = 8, classes: int = 3) -> ServingNetwork:
    """A small CNN as it is served; another seed has other weights."""
    torch.manual_seed(seed)
    network = NETWORK.build(channels=1, image_size=side, classes=classes)
    return ServingNetwork(network, mean=(0.3,), std=(0.4,)).eval()


def random_images(count: int, seed: int = 0, side: int = 8) -> NDArray[np.uint8]:
    """Noise, (count, 1, side, side)."""
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (count, 1, side, side), dtype=np.uint8)


def evaluation(accuracy: float = 0.9) -> Evaluation:
    """Scores of thirty images of three classes."""
    perfect = ClassScores(name="", precision=1, recall=1, f1=1, support=10)
    return Evaluation(
        accuracy=accuracy,
        f1_macro=0.89,
        f1_weighted=0.9,
        cross_entropy=0.25,
        ece=0.03,
        n=30,
        per_class=tuple(perfect.model_copy(update={"name": name}) for name in CLASSES),
        confusion=ConfusionMatrix(classes=3, cells=((0, 0, 10), (1, 1, 10), (2, 2, 10))),
        intervals={"accuracy": Interval(low=0.8, high=0.95)},
    )


def registration(run_id: str, seed: int = 0, accuracy: float = 0.9) -> Registration:
    """A trial about to become a version; another seed is another one."""
    spec = trial_spec(learning_rate=0.001 * (seed + 1))
    return Registration(
        serving=serving_network(seed),
        spec=spec,
        result=trial_result(spec),
        evaluation=evaluation(accuracy),
        dataset=DATASET,
        classes=CLASSES,
        example=random_images(4),
        trained_ids=np.arange(320, dtype=np.uint8).reshape(10, 32),
        trained_prints=np.arange(320, dtype=np.uint8).reshape(10, 32)[::-1].copy(),
        validation_images=4,
        params=Params(),
        code=CodeFacts(commit="f" * 40, dirty=False),
        run_id=run_id,
        why="Won 1 of 1 by validation accuracy.",
    )


class BarsNetwork(nn.Module):
    """Names the third of the image that is brightest: always right on the bars."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        bands = [images[:, :, 3 * row : 3 * row + 2].float().mean((1, 2, 3)) for row in range(3)]
        return torch.softmax(torch.stack(bands, dim=1) / 10, dim=1)


def bars_registration(serving: nn.Module, run_id: str, *, seed: int = 0) -> Registration:
    """A network for the prepared bars, which has seen none of today's test images."""
    return dataclasses.replace(
        registration(run_id, seed=seed),
        serving=serving,
        classes=("top", "middle", "bottom"),
        trained_ids=np.full((5, 32), 255, np.uint8),
        trained_prints=np.full((5, 32), 254, np.uint8),
        validation_images=2,
    )


def store_history(trials: Path, spec: TrialSpec, epochs: int) -> None:
    """Write the history a trial of so many epochs leaves in the trial store."""
    directory = trials / spec.key
    directory.mkdir(parents=True, exist_ok=True)
    lines = [epoch_record(epoch).model_dump_json() + "\n" for epoch in range(1, epochs + 1)]
    (directory / "history.jsonl").write_text("".join(lines))


def ended_retraining(
    verdict: Verdict = "PROMOTE", *, action: Action | None = "promote", champion: int | None = 2
) -> Retraining:
    """How a retraining of version 2 ended; action: of the ledger, None: no alias may move."""
    rule = RuleResult(rule="better", passed=True, text="better by 1 %")
    decision = GateDecision(verdict=verdict, rules=(rule,))
    facts = {
        "action": action,
        "name": "n",
        "to": 2,
        "verdict": verdict,
        "reasons": decision.reasons,
    }
    sealed = {"number": 1, "time": "", "who": "", "previous": "", "digest": ""}
    move = Move(entry=Entry.model_validate(facts | sealed), after=champion) if action else None
    return Retraining(
        decision=Decision(retrain=True, reason="data changed"),
        registered_name="digits-classifier",
        report="report.html",
        promotion=Promotion(
            judgement=Judgement(version=2, champion=champion, decision=decision), move=move
        ),
    )


def answer(pitchpipe: Command, *arguments: str, code: int = 0) -> Any:
    """The JSON document of a command that must exit so."""
    found, out, err = pitchpipe(*arguments, "--json")
    assert found == code, err
    return json.loads(out)
