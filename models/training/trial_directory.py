"""The files of one trial's directory: history, checkpoints and outcomes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from models.digests import digest_file
from models.files import append_line, write_text
from models.training.checkpoint import (
    TrainingState,
    Weights,
    load_state,
    save_state,
    save_weights,
    weights_digest,
)
from models.training.early_stopping import best_record
from models.trials import (
    EpochRecord,
    TrialFailure,
    TrialFiles,
    TrialResult,
    TrialSpec,
    read_history,
    read_result,
    result_path,
)


@dataclass(frozen=True, slots=True)
class TrialDirectory:
    """mlruns/trials/<key>/ of one trial; one process at a time writes it."""

    path: Path
    spec: TrialSpec

    def open(self) -> None:
        """Write trial.json where it is not there yet."""
        path = self.path / TrialFiles.SPEC
        text = self.spec.model_dump_json(indent=2) + "\n"
        if not path.exists() or path.read_bytes() != text.encode():
            write_text(path, text)

    def history(self) -> list[EpochRecord]:
        """Epochs recorded so far, as `models.trials.read_history` reads them."""
        return list(read_history(self.path))

    def resume(self) -> TrainingState | None:
        """Return the last epoch's state and cut the history to it; None: begin anew."""
        state = load_state(self.path / TrialFiles.LAST)
        history = self.history()
        if state is not None and state.epoch > len(history):
            state = None
        kept = history[: state.epoch] if state else []
        text = "".join(record.model_dump_json() + "\n" for record in kept)
        write_text(self.path / TrialFiles.HISTORY, text)
        return state

    def best_is_within(self, budget: int) -> bool:
        """Whether the best epoch so far was already the best after `budget` epochs."""
        history, objective = self.history(), self.spec.config.objective
        return best_record(history, objective) == best_record(history[:budget], objective)

    def save_epoch(self, record: EpochRecord, state: TrainingState, *, improved: bool) -> None:
        """Keep a finished epoch: history, best.ckpt where it improved, then last.ckpt."""
        append_line(self.path / TrialFiles.HISTORY, record.model_dump_json())
        if improved:
            save_weights(self.path / TrialFiles.BEST, state.best)
        save_state(self.path / TrialFiles.LAST, state)

    def save_result(
        self, budget: int, best: Weights, *, history: Sequence[EpochRecord] = ()
    ) -> TrialResult:
        """Write the result of a history, by default of that so far, and its best weights.

        Weights are kept per best epoch, so training on changes no earlier result. result.json is
        that of the largest budget.
        """
        history = history or self.history()[:budget]
        record = best_record(history, self.spec.config.objective)
        checkpoint = self.path / f"epoch-{record.epoch:04d}.ckpt"
        save_weights(checkpoint, best)
        result = TrialResult(
            key=self.spec.key,
            config=self.spec.config,
            budget=budget,
            epochs=len(history),
            best_epoch=record.epoch,
            scores=record.scores,
            seconds=sum(past.seconds for past in history),
            checkpoint=checkpoint.name,
            checkpoint_digest=digest_file(checkpoint),
            weights_digest=weights_digest(best),
        )
        self._write(result)
        return result

    def _write(self, result: TrialResult) -> None:
        text = result.model_dump_json(indent=2) + "\n"
        largest = read_result(self.path / TrialFiles.RESULT)
        if largest is None or largest.budget <= result.budget:
            write_text(self.path / TrialFiles.RESULT, text)
        # Last: it makes the budget count as done, so that a kill in between leaves none half done.
        write_text(result_path(self.path, result.budget), text)
        (self.path / TrialFiles.FAILURE).unlink(missing_ok=True)

    def save_failure(self, failure: TrialFailure) -> None:
        """Write failure.json."""
        text = failure.model_dump_json(indent=2) + "\n"
        write_text(self.path / TrialFiles.FAILURE, text)
