"""Which engine, how many workers, which GPU: decided and refused before any work begins."""

import importlib.util
import multiprocessing
import os
import signal
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st
from project_folder import ProjectFolder
from pydantic import ValidationError

from flows.engines.cluster import ClusterEngine, ClusterFuture
from flows.engines.dask_head import share_gpus
from flows.engines.devices import DevicePool, cuda_devices, device_for
from flows.engines.local import InterruptedTrialError, LocalEngine
from flows.engines.opening import check_engine, cores_a_trial, device_of, workers_for
from flows.engines.worker_contract import LOCK, TOKEN, WorkerContract, open_contract
from flows.records.retraining import Request
from models.config import Params, TrialConfig
from models.config.search import SearchParams
from models.errors import ConfigError, PitchpipeError
from models.optimizers import GdConfig
from models.training import worker
from models.training.worker import TrialJob
from models.trials import TrialFailure, TrialSpec, read_outcome


@pytest.fixture
def contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerContract]:
    """Premises that stand in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    with open_contract() as standing:
        yield standing


def test_a_worker_that_shares_everything_complains_of_nothing(contract: WorkerContract) -> None:
    """The folder, its locks, packages and code are those of who asks."""
    assert contract.violation() is None
    assert not contract.gone()


def test_a_worker_says_what_it_does_not_share(contract: WorkerContract, tmp_path: Path) -> None:
    """Each message names the machine, what differs, and the way out."""
    elsewhere = contract.model_copy(update={"root": str(tmp_path / "elsewhere")})
    older = contract.model_copy(update={"versions": {"torch": "1.0"}})
    other = contract.model_copy(update={"source": "0" * 64})

    assert "does not see" in str(elsewhere.violation())
    assert "at the same path" in str(elsewhere.violation())
    assert "we have 1.0; install the same versions" in str(older.violation())
    assert "other code of pitchpipe" in str(other.violation())


def test_a_folder_without_locks_between_machines_is_refused(tmp_path: Path) -> None:
    """A lock of ours that a worker can take holds nothing between the two."""
    contract = WorkerContract(root=str(tmp_path), token="t", source="s", versions={})
    (tmp_path / TOKEN).parent.mkdir()
    (tmp_path / TOKEN).write_text("t")

    assert "does not see our locks" in str(contract.violation())
    with FileLock(tmp_path / LOCK):
        assert "other code" in str(contract.violation())


def test_premises_are_gone_with_who_holds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended, killed or followed by another retraining: workers end what they train for it."""
    monkeypatch.chdir(tmp_path)
    with open_contract() as first:
        pass
    assert first.gone()
    with open_contract() as second:
        assert first.gone()
        assert not second.gone()


def test_processes_have_no_address() -> None:
    """An address without a cluster is a mistake, not a wish to ignore."""
    with pytest.raises(ConfigError, match="choose --engine dask or --engine ray"):
        check_engine(Request(engine_address="127.0.0.1:8786"))


@pytest.mark.parametrize("engine", ["dask", "ray"])
def test_a_missing_extra_says_how_to_install_it(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engines are extras of the package."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)

    with pytest.raises(ConfigError, match=f"make install EXTRAS={engine}"):
        check_engine(Request.model_validate({"engine": engine}))


@pytest.mark.parametrize("address", ["nonsense", "ray://127.0.0.1:1", "127.0.0.1", ":1", "[]:1"])
def test_an_address_is_host_and_port(address: str) -> None:
    """Anything else is refused by its form."""
    with pytest.raises(ConfigError, match="is not HOST:PORT"):
        check_engine(Request(engine="ray", engine_address=address))


@pytest.mark.parametrize("engine", ["dask", "ray"])
def test_an_address_where_nothing_answers_is_one_message(
    engine: str, project: ProjectFolder
) -> None:
    """Exit 2 before data, Prefect or MLflow are touched."""
    with socket.socket() as closed:  # bound and not listening: nobody answers there
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        tuned = project.pitchpipe("tune", "--engine", engine, "--engine-address", address)

    assert tuned.code == 2
    assert "nothing answers there" in tuned.err
    assert "Traceback" not in tuned.err
    assert not (project.root / "data/prepared").exists()


def driver(folder: Path, monkeypatch: pytest.MonkeyPatch, *, gpus: int, built: str = "") -> None:
    """A machine whose driver lists so many GPUs: the far end, which is not on this one."""
    program = folder / "nvidia-smi"
    program.write_text("#!/bin/sh\n" + "".join(f"echo {number}\n" for number in range(gpus)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("flows.engines.devices.version", lambda _: f"2.13.0{built}")


def test_a_gpu_is_used_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver and CUDA_VISIBLE_DEVICES say which; a torch without CUDA uses none."""
    driver(tmp_path, monkeypatch, gpus=3)
    assert cuda_devices() == ("0", "1", "2")
    assert (device_for("auto"), device_for("cpu"), device_for("cuda")) == ("cuda", "cpu", "cuda")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-5e,-1,0")
    assert cuda_devices() == ("2", "GPU-5e")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert device_for("auto") == "cpu"


def test_cuda_is_refused_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for by name it is an error; a cluster elsewhere may have what this machine lacks."""
    driver(tmp_path, monkeypatch, gpus=0)
    with pytest.raises(ConfigError, match="nvidia-smi lists none here; use --device cpu"):
        check_engine(Request(device="cuda"))
    driver(tmp_path, monkeypatch, gpus=1, built="+cpu")
    with pytest.raises(ConfigError, match="torch here is built for the CPU alone"):
        check_engine(Request(device="cuda"))
    away = Request(device="cuda", engine="dask", engine_address="elsewhere:8786")
    assert device_of(away) == "cuda"


@given(st.integers(1, 5), st.lists(st.integers(1, 5), max_size=8))
def test_gpus_are_taken_by_turns(count: int, wanted: list[int]) -> None:
    """Those with the fewest trials first: no two differ by more than one trial of one GPU."""
    pool = DevicePool([str(number) for number in range(count)])
    held = [pool.hold(1) for _ in wanted]
    loads = dict.fromkeys((str(number) for number in range(count)), 0)

    for one in held:
        (device,) = one.__enter__()
        loads[device] += 1
    assert max(loads.values()) - min(loads.values()) <= 1
    for one in held:
        one.__exit__(None, None, None)

    with pool.hold(count) as everything:
        assert sorted(everything) == sorted(loads)
    with pytest.raises(ConfigError, match=r"lower trial\.devices"), pool.hold(count + 1):
        pass


def test_a_gpu_is_given_back(tmp_path: Path) -> None:
    """The next trial takes what is free, not what is next in line."""
    del tmp_path
    pool = DevicePool(["0", "1"])
    with pool.hold(1) as first:
        with pool.hold(1) as second:
            pass
        with pool.hold(1) as third:
            assert (first, second, third) == (("0",), ("1",), ("1",))


def test_workers_share_the_cores_by_what_the_largest_trial_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads on each device, the most over the axes; GPUs count where those are trained on."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    plain = Params(trial=TrialConfig(threads=2, devices=2))
    axes = SearchParams.model_validate({"axes": {"threads": [1, 4], "devices": [1, 2]}})
    drawn = SearchParams.model_validate(
        {"strategy": "random", "axes": {"threads": {"low": 1, "high": 3}}}
    )

    assert workers_for(Params(), Request(), "cpu") == 8
    assert workers_for(plain, Request(), "cpu") == 2
    assert cores_a_trial(Params(search=axes)) == 8
    assert workers_for(Params(search=axes), Request(), "cpu") == 1
    assert workers_for(Params(search=drawn), Request(), "cpu") == 2
    assert workers_for(plain, Request(workers=7), "cpu") == 7
    driver(tmp_path, monkeypatch, gpus=4)
    assert workers_for(plain, Request(), "cuda") == 2


def test_more_devices_than_images_of_a_minibatch_are_refused() -> None:
    """Each device takes a share of every minibatch; gradient descent takes the whole split."""
    with pytest.raises(ValidationError, match="devices 4 must not be above minibatch_size 2"):
        TrialConfig(devices=4, minibatch_size=2)
    assert TrialConfig(devices=4, minibatch_size=2, optimizer=GdConfig()).devices == 4


class FakeCluster:
    """A far end whose workers answer as told."""

    slots = 1

    def __init__(self, *answers: str | None, complaints: Sequence[str] = ()) -> None:
        self._answers = iter(answers)
        self._complaints = list(complaints)
        self.forgotten = 0

    def find_violations(self, contract_json: str) -> list[str]:
        del contract_json
        return self._complaints

    def submit(self, order_json: str) -> ClusterFuture:
        del order_json
        return self

    def ended(self, *, within: float) -> bool:
        del within
        return True

    def answer(self) -> str | None:
        return next(self._answers)

    def cancel(self) -> None:
        self.forgotten += 1


@pytest.fixture
def work(tmp_path: Path) -> TrialJob:
    """A trial that nobody trains."""
    spec = TrialSpec(config=TrialConfig(), dataset="d", source="s", versions={})
    return TrialJob(
        spec=spec,
        directory=tmp_path / "trial",
        prepared=tmp_path / "prepared",
        budget=1,
        label="a trial",
    )


def test_a_trial_whose_workers_die_time_and_again_has_failed(
    contract: WorkerContract, work: TrialJob
) -> None:
    """Three workers, then the search goes on without it; another run tries again."""
    outcome = ClusterEngine(FakeCluster(None, None, None), contract).train(work, lambda _: None)

    assert isinstance(outcome, TrialFailure)
    assert outcome.kind == "killed"
    assert read_outcome(work.directory, 1) == outcome


def test_a_worker_that_died_is_followed_by_another(
    contract: WorkerContract, work: TrialJob
) -> None:
    """What the second one answers counts."""
    failure = TrialFailure(
        key="k", config=TrialConfig(), budget=1, epochs=0, reason="wild", kind="diverged"
    )
    cluster = FakeCluster(None, failure.model_dump_json())

    assert ClusterEngine(cluster, contract).train(work, lambda _: None) == failure


def test_a_stopped_engine_trains_nothing(contract: WorkerContract, work: TrialJob) -> None:
    """The order is withdrawn, and the trial interrupted rather than failed."""
    cluster = FakeCluster()
    engine = ClusterEngine(cluster, contract)
    engine.stop()

    with pytest.raises(InterruptedTrialError, match="run again to go on"):
        engine.train(work, lambda _: None)
    assert cluster.forgotten == 1


def test_workers_that_complain_are_named_once(contract: WorkerContract) -> None:
    """One message, though every slot of a machine says the same."""
    complaints = ["a does not see", "a does not see", "b has torch 1.0"]
    with pytest.raises(PitchpipeError, match="a does not see; b has torch 1"):
        ClusterEngine(FakeCluster(complaints=complaints), contract)


def test_a_trial_on_a_gpu_is_refused_where_there_is_none(
    work: TrialJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version that was trained on a GPU cannot be trained again without one."""
    driver(tmp_path, monkeypatch, gpus=0)
    spec = work.spec.model_copy(update={"device": "cuda"})

    with pytest.raises(ConfigError, match=r"needs 1 GPU\(s\), and 0 can be used here"):
        LocalEngine().train(work.model_copy(update={"spec": spec}), lambda _: None)


def test_a_child_sees_only_its_gpus(work: TrialJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set in the child itself: all children come from one fork server."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(worker, "end_with_parent", lambda: None)
    monkeypatch.setattr(worker, "_train", lambda *_: None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")  # and so restored at the end
    receiver, sender = multiprocessing.Pipe(duplex=False)

    with receiver, sender:
        worker.run(work.model_dump_json(), sender)
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
        two = work.model_copy(update={"cuda_devices": ("1", "3")})
        worker.run(two.model_dump_json(), sender)

    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1,3"


@pytest.mark.parametrize(
    ("each", "seen"), [(1, ("0", "1", "2", "0")), (2, ("0,1", "2,0", "1,2", "0,1"))]
)
def test_workers_of_our_own_dask_cluster_see_as_many_gpus_as_a_trial_takes(
    each: int, seen: tuple[str, ...]
) -> None:
    """By turns, worked by hand for four workers and three GPUs; none where there are none."""
    assert share_gpus(("0", "1", "2"), workers=4, each=each) == seen
    assert share_gpus((), workers=4, each=each) == ()
