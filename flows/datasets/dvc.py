"""Interface to DVC: tracking of batches, the preparing stage, cache and remote."""

import configparser
import contextlib
import errno
import io
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import yaml

from flows.datasets.files import RAW
from flows.runtime.environment import environment_variables
from models.credentials import without_credentials
from models.errors import BusyError, IntegrityError, PitchpipeError
from models.files import write_text

if TYPE_CHECKING:
    from dvc.repo import Repo

_log = logging.getLogger(__name__)
_LOCAL_CONFIG = Path(".dvc/config.local")
_WAIT_SECONDS = 600.0
_ADVICE = "`dvc doctor` and `dvc remote list` show what it has to work with"
_Result = TypeVar("_Result")

wait = time.sleep


def tracked_md5(name: str) -> str | None:
    """Return the md5 under which DVC tracks the dataset, from its .dvc file; None: not tracked.

    Raises IntegrityError where the file is damaged.
    """
    path = RAW / f"{name}.dvc"
    try:
        content = yaml.safe_load(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        content = None
    match content:
        case {"outs": [{"path": str(), **out}]}:
            return str(out["md5"]) if "md5" in out else None
    raise IntegrityError(
        f"{path}: is damaged, it is no file of `dvc add`; bring it back from git, or delete it: "
        "the batches in data/raw are then tracked again by the next run"
    )


def track(name: str) -> str | None:
    """`dvc add` the dataset's folder; return its md5.

    Where that fails, its .dvc file is as it was: DVC writes the new one before all is in its cache.
    """
    path = RAW / f"{name}.dvc"
    before = path.read_bytes() if path.is_file() else None
    try:
        _act(lambda repo: repo.add(str(RAW / name)))
    except BaseException:
        _put_back(path, before)
        raise
    return tracked_md5(name)


def _put_back(path: Path, before: bytes | None) -> None:
    if before is None:
        path.unlink(missing_ok=True)
    elif not path.is_file() or path.read_bytes() != before:
        write_text(path, before.decode())


def checkout(name: str) -> None:
    """`dvc pull` the dataset as it is tracked; without a remote, `dvc checkout` it."""
    target = str(RAW / f"{name}.dvc")
    _act(lambda repo: repo.pull(targets=[target]) if _remote_url(repo) else repo.checkout([target]))


def push(name: str) -> None:
    """`dvc push` the dataset where a default remote is configured; a failure is only logged."""
    try:
        if remote_url() is not None:
            _act(lambda repo: repo.push(targets=[str(RAW / f"{name}.dvc")]))
    except PitchpipeError as error:
        # Finished work must not fail because a remote is away; `dvc push` catches up later.
        _log.warning("the dataset was not pushed: %s", error)


def cache_path(md5: str) -> Path:
    """Return the path in the cache for the file of this md5, whether or not it is there."""
    return Path(_act(lambda repo: repo.cache.local.oid_to_path(md5)))


def fetch(md5: str) -> None:
    """Fetch a file from the default remote, if any, into the cache, where the remote has it."""

    def pull(repo: "Repo") -> None:
        from dvc_data.hashfile.hash_info import HashInfo  # noqa: PLC0415 - half a second

        if _remote_url(repo) is not None:
            repo.cloud.pull([HashInfo("md5", md5)])

    _act(pull)


def reproduce(*, force: bool = False) -> bool:
    """`dvc repro prepare` by the present data/prepare.yaml; return whether the stage ran.

    The stage's command is the one beside the running interpreter, whatever the user's PATH.
    """

    def act(repo: "Repo") -> bool:
        ran = bool(repo.reproduce("prepare", force=force, single_item=True))
        _settle_params(repo)
        return ran

    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    with environment_variables({"PATH": path}):
        return _act(act)


def _settle_params(repo: "Repo") -> None:
    """Let DVC accept the present data/prepare.yaml as the output of the stage that writes it."""
    from dvc.dependency.param import MissingParamsError  # noqa: PLC0415 - half a second

    # A params.yaml without data section, where all params are defaults.
    with contextlib.suppress(MissingParamsError):
        repo.commit("params", force=True)


def remote_url() -> str | None:
    """Return the URL of the default remote, without credentials; None: there is none."""
    url = _act(_remote_url)
    return None if url is None else without_credentials(url)


def _remote_url(repo: "Repo") -> str | None:
    name = repo.config["core"].get("remote")
    if not name:
        return None
    if name not in repo.config["remote"]:
        raise PitchpipeError(
            f"DVC's core.remote names {name!r}, and there is no such remote; "
            f"`dvc remote add {name} URL` makes it, `dvc remote default --unset` does without"
        )
    return str(repo.config["remote"][name]["url"])


def _act(action: Callable[["Repo"], _Result]) -> _Result:
    """Act on the project's DVC repository, without DVC's own messages below warnings.

    Raises BusyError where another process holds it for ten minutes, PitchpipeError where DVC fails.
    """
    faults = _faults()
    logging.getLogger("dvc").setLevel(logging.WARNING)
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        logged = _Logged()
        try:
            with logged.kept(), _repository() as repo, contextlib.redirect_stdout(io.StringIO()):
                return action(repo)
        except faults as error:
            error.__cause__ = error.__cause__ or logged.last
            if not _is_busy(error):
                raise PitchpipeError(f"DVC: {_reasons(error)}; {_advice(error)}") from error
            if time.monotonic() > deadline:
                raise BusyError(f"DVC is held by another process: {_reasons(error)}") from error
            # DVC gives up after 3 s; another process of ours may take minutes.
            wait(0.2)


class _Logged(logging.Handler):
    """Keeps the errors that DVC's lower layers log: what is raised after them has no cause."""

    last: BaseException | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the exception of a record."""
        self.last = record.exc_info[1] if record.exc_info else self.last

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Take what is logged while inside, so that it is said once, by us."""
        loggers = [logging.getLogger(name) for name in ("dvc_data", "dvc_objects")]
        before = [(one, one.handlers, one.propagate) for one in loggers]
        for one in loggers:
            one.handlers, one.propagate = [self], False
        try:
            yield
        finally:
            for one, handlers, propagates in before:
                one.handlers, one.propagate = handlers, propagates


@contextmanager
def _repository() -> Iterator["Repo"]:
    from dvc.repo import Repo  # noqa: PLC0415 - half a second

    _fit_to_git()
    repository = Repo(".") if Path(".dvc").is_dir() else Repo.init(".", no_scm=not _in_git())
    with repository as repo:
        yield repo


def _fit_to_git() -> None:
    """Set DVC's no_scm by whether there is git, which an unpacked archive may get later."""
    if not Path(".dvc").is_dir():
        return
    config = configparser.ConfigParser()
    config.read(_LOCAL_CONFIG, encoding="utf-8")
    if config.getboolean("core", "no_scm", fallback=False) == (not _in_git()):
        return
    if not config.has_section("core"):
        config.add_section("core")
    config["core"]["no_scm"] = str(not _in_git()).lower()
    text = io.StringIO()
    config.write(text)
    write_text(_LOCAL_CONFIG, text.getvalue())


def _in_git() -> bool:
    return any((folder / ".git").exists() for folder in (Path.cwd(), *Path.cwd().parents))


def _faults() -> tuple[type[Exception], ...]:
    """Return the exceptions of DVC, whose lower layers do not raise DvcException."""
    from dvc.exceptions import DvcException  # noqa: PLC0415 - half a second
    from dvc_objects.errors import ObjectDBError, ObjectFormatError  # noqa: PLC0415
    from dvc_objects.fs.errors import AuthError, ConfigError, RemoteMissingDepsError  # noqa: PLC0415

    remote = (AuthError, ConfigError, RemoteMissingDepsError)
    return (DvcException, *remote, ObjectDBError, ObjectFormatError, OSError)


def _is_busy(error: BaseException | None) -> bool:
    from dvc.lock import LockError  # noqa: PLC0415 - half a second

    return error is not None and (isinstance(error, LockError) or _is_busy(error.__cause__))


def _advice(error: BaseException) -> str:
    full = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}
    if full:
        return "free space, then do it again"
    return _advice(error.__cause__) if error.__cause__ else _ADVICE


def _reasons(error: BaseException) -> str:
    """Format an error with its causes."""
    below = f": {_reasons(error.__cause__)}" if error.__cause__ else ""
    said = " ".join(str(error).split()) or type(error).__name__
    return without_credentials(f"{said}{below}")
