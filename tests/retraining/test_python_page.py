"""docs/python.md and the notebook, executed on a project that was retrained before."""

import os
import shutil
from pathlib import Path

import pytest
import yaml
from project_folder import QUICK, REPOSITORY, ProjectFolder, Ran, code_blocks

from flows.project import Project
from flows.runtime.environment import SAFE_DEFAULTS
from models.config import load_params
from models.errors import ConfigError

pytest_plugins = ["stored_project"]


@pytest.fixture
def project_root(
    retrained: tuple[ProjectFolder, Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A copy of the project, whose params.yaml says what was retrained; the working directory."""
    root = tmp_path / "project"
    shutil.copytree(retrained[0].root, root)
    for name, value in SAFE_DEFAULTS.items():
        monkeypatch.setenv(name, value)  # put back afterwards
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(root)
    return root


def test_the_blocks_of_the_page_run_in_order(
    project_root: Path, stored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A retraining that nothing asks for, versions, labels, curves, and a message that helps."""
    params = load_params(Path("params.yaml"), QUICK).model_dump(mode="json")
    (project_root / "params.yaml").write_text(yaml.safe_dump(params))
    shutil.copytree(stored / "asked", project_root / "photos")
    page: dict[str, object] = {}

    for block in code_blocks("python", "docs/python.md"):
        exec(compile(block, "docs/python.md", "exec"), page)

    said = capsys.readouterr().out
    assert said.startswith("nothing changed")
    assert "1 ('champion',)" in said
    assert said.count(".png") == 60
    assert "did you mean 'epochs'" in said
    assert (Path.cwd(), os.environ.get("MLFLOW_TRACKING_URI")) == (project_root, None)


def test_a_folder_without_params_is_no_project(tmp_path: Path) -> None:
    """The way to make one is named."""
    with pytest.raises(ConfigError, match=r"holds no params\.yaml; `pitchpipe init`"):
        Project.at(tmp_path)


@pytest.mark.slow
def test_a_process_retrains_two_projects_in_turn(tmp_path: Path, project_root: Path) -> None:
    """Each with a Prefect server of its own, which the first leaves behind; in its own folder."""
    other = tmp_path / "other"
    shutil.copytree(project_root, other)
    for root in (project_root, other, project_root):
        ran = Project.at(root, *QUICK).run(force=True, promote=False)
        assert ran.decision.retrain
        assert ran.exit_code == 0
    assert (Path.cwd(), os.environ.get("PREFECT_HOME")) == (project_root, None)


@pytest.mark.slow
def test_the_notebook_runs_from_the_first_cell_to_the_last(project_root: Path) -> None:
    """In a kernel, whose event loop runs already."""
    import nbformat  # noqa: PLC0415 - Jupyter, for this test alone
    from nbclient import NotebookClient  # noqa: PLC0415

    (project_root / "examples").mkdir()
    source = (REPOSITORY / "examples/notebook.ipynb").read_text(encoding="utf-8")
    notebook = nbformat.reads(source, as_version=4)  # type: ignore[no-untyped-call] # typed in part
    nbformat.validate(notebook)
    assert [cell.outputs for cell in notebook.cells if cell.cell_type == "code"] == [[]] * 4

    client = NotebookClient(
        notebook, timeout=240, resources={"metadata": {"path": str(project_root / "examples")}}
    )
    client.execute()

    shown = [cell.outputs[-1].data["text/plain"] for cell in notebook.cells if "outputs" in cell]
    assert shown[0].startswith("'nothing changed")
    assert "('champion',)" in shown[1]
    assert shown[3].count("(") == 8
