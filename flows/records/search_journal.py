"""The journal of a search with a pruner, by which a killed search repeats its decisions.

A pruner's decisions depend on which trial ended first, which differs from run to run. So each
decision and each outcome is written in order, before it is acted on.
"""

import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from models.config import Record, read_record_lines
from models.digests import digest_of
from models.files import append_line, write_text
from models.search.strategy import Job, Strategy
from models.trials import Scores

log = logging.getLogger(__name__)

JOURNALS = Path("mlruns/searches")


class JobRecord(Record):
    """A decision: to train this trial up to this budget."""

    kind: Literal["asked"] = "asked"
    number: int
    """Of the trial in its search, from 0."""
    budget: int
    """Epochs."""
    config: str
    """Digest of the trial's config."""


class OutcomeRecord(Record):
    """The outcome of a decision."""

    kind: Literal["told"] = "told"
    number: int
    budget: int
    scores: Scores | None
    """On validation; null: the trial failed."""
    averages: Scores | None = None
    """Means over the epochs so far; null: not known, or written by an earlier release."""


Line = Annotated[JobRecord | OutcomeRecord, Field(discriminator="kind")]
_LINE: TypeAdapter[Line] = TypeAdapter(Line)


class JournaledStrategy:
    """A strategy whose decisions survive the process; itself a strategy.

    After a kill it first asks for all jobs of the journal, in their order: those whose outcome is
    in the trial store cost nothing, and decisions based on the others are kept.
    """

    def __init__(
        self,
        strategy: Strategy,
        path: Path,
        *,
        stands: Callable[[Job], bool] = lambda _: True,
        writes: bool = True,
    ) -> None:
        """stands: whether a failed job would fail again; decisions after one that may not (killed,
        out of memory) are made again. writes: whether the journal is written, or only read.
        """
        self._strategy, self._path, self._stands = strategy, path, stands
        self._writes = writes
        self._told: set[tuple[int, int]] = set()
        self._again = self._replay(self._read())
        self._again.reverse()

    def ask(self) -> Job | None:
        if self._again:
            return self._again.pop()
        job = self._strategy.ask()
        if job is not None:
            self._append(_job_record(job))
        return job

    def tell(self, job: Job, scores: Scores | None, averages: Scores | None = None) -> None:
        if (job.number, job.budget) in self._told:
            return
        self._append(
            OutcomeRecord(number=job.number, budget=job.budget, scores=scores, averages=averages)
        )
        self._strategy.tell(job, scores, averages)

    def _replay(self, lines: Sequence[Line]) -> list[Job]:
        """Replay the journal in the strategy; return the jobs that it had asked for."""
        jobs: dict[tuple[int, int], Job] = {}
        for done, line in enumerate(lines):
            if isinstance(line, JobRecord):
                job = self._strategy.ask()
                if job is not None:
                    jobs[job.number, job.budget] = job
                if job is None or _job_record(job) != line:
                    log.warning("%s is of another release; decisions are made again", self._path)
                    self._rewrite([*lines[:done], *([_job_record(job)] if job else [])])
                    break
            elif not self._retell(line, jobs):
                self._rewrite(lines[:done])
                break
        return list(jobs.values())

    def _retell(self, line: OutcomeRecord, jobs: Mapping[tuple[int, int], Job]) -> bool:
        job = jobs.get((line.number, line.budget))
        if job is None or (line.scores is None and not self._stands(job)):
            return False
        self._strategy.tell(job, line.scores, line.averages)
        self._told.add((line.number, line.budget))
        return True

    def _read(self) -> list[Line]:
        """Return the lines before the first invalid one, and cut the file there."""
        found = read_record_lines(self._path, _LINE.validate_json)
        lines = [line for line in itertools.takewhile(lambda line: line is not None, found) if line]
        if len(lines) < len(found):
            self._rewrite(lines)
        return lines

    def _append(self, line: Line) -> None:
        if self._writes:
            append_line(self._path, line.model_dump_json())

    def _rewrite(self, lines: Sequence[Line]) -> None:
        if self._writes:
            write_text(self._path, "".join(line.model_dump_json() + "\n" for line in lines))


def _job_record(job: Job) -> JobRecord:
    return JobRecord(number=job.number, budget=job.budget, config=digest_of(job.proposal.config))
