"""docs/schedules.md is code: each of its commands runs, and its file is read."""

import re
import shlex

import yaml
from conftest import QUICK, REPOSITORY, ProjectFolder, Ran, overrides

from flows.schedules import Schedule

PAGE = (REPOSITORY / "docs/schedules.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Code blocks of the page in a language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


def test_every_command_of_the_page_runs(retrained: tuple[ProjectFolder, Ran]) -> None:
    """In its order, where nothing changed since the last retraining."""
    folder, _ = retrained
    for line in "".join(blocks("sh")).splitlines():
        words = shlex.split(line, comments=True)
        if words[1:4] == ["schedule", "run-now", "nightly"]:
            set_quick(folder)
        ran = folder.pitchpipe(*words[1:])
        assert ran.code == 0, (words, ran.err)
        assert "Traceback" not in ran.err
    (folder.root / "schedules.yaml").unlink()


def set_quick(folder: ProjectFolder) -> None:
    """Let the schedule ask for what was retrained already, which is nothing to do."""
    again = folder.pitchpipe("schedule", "remove", "nightly")
    assert again.code == 0, again.err
    new = ["--cron", "0 3 * * *", "--name", "nightly", *overrides(*QUICK)]
    assert folder.pitchpipe("schedule", *new).code == 0


def test_the_file_on_the_page_is_one() -> None:
    """Its keys are those of a schedule."""
    (text,) = blocks("yaml")
    (entry,) = yaml.safe_load(text)

    assert set(entry) <= set(Schedule.model_fields)
    assert Schedule.model_validate(entry | {"set": tuple(entry["set"])}).trigger == "cron"
