"""Detection of GPUs, without importing torch, and their distribution among trials."""

import contextlib
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from importlib.metadata import version

from flows.records.choices import AskedDevice
from models.errors import ConfigError
from models.trials import Device

VISIBLE = "CUDA_VISIBLE_DEVICES"


def cuda_devices() -> tuple[str, ...]:
    """Return the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them.

    None where torch was built for the CPU alone.
    """
    present = () if version("torch").endswith("+cpu") else _driver_lists()
    allowed = os.environ.get(VISIBLE)
    if allowed is None or not present:
        return present
    names: list[str] = []
    for name in allowed.split(","):
        if name.strip() in ("", "-1"):  # as in CUDA, an invalid entry ends the list
            break
        names.append(name.strip())
    return tuple(names)


def _driver_lists() -> tuple[str, ...]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    command = [program, "--query-gpu=index", "--format=csv,noheader"]
    try:
        listed = subprocess.run(  # noqa: S603 - the driver's own program, constant arguments
            command, capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):  # the driver does not work
        return ()
    return tuple(str(number) for number, _ in enumerate(listed.stdout.splitlines()))


def device_for(asked: AskedDevice) -> Device:
    """Return the kind of processor that trials train on; auto: a GPU where there is one.

    Raises ConfigError where a GPU is asked for and this machine has none that torch can use.
    """
    if asked == "cpu":
        return "cpu"
    if cuda_devices():
        return "cuda"
    if asked == "cuda":
        built = version("torch").endswith("+cpu")
        why = "torch here is built for the CPU alone" if built else "nvidia-smi lists none here"
        raise ConfigError(f"--device cuda: no GPU can be used, {why}; use --device cpu")
    return "cpu"


class DevicePool:
    """Distributes GPUs among trials, those with the fewest trials first."""

    def __init__(self, devices: Sequence[str]) -> None:
        self._trials = dict.fromkeys(devices, 0)
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def hold(self, count: int) -> Iterator[tuple[str, ...]]:
        """Hold `count` different devices; raise ConfigError where there are fewer."""
        if count > len(self._trials):
            raise ConfigError(
                f"the trial needs {count} GPU(s), and {len(self._trials)} can be used here; lower "
                "trial.devices, or use --device cpu"
            )
        with self._lock:
            free_first = sorted(self._trials, key=self._trials.__getitem__)
            chosen = tuple(free_first[:count])
            self._count(chosen, 1)
        try:
            yield chosen
        finally:
            with self._lock:
                self._count(chosen, -1)

    def _count(self, devices: Sequence[str], change: int) -> None:
        for device in devices:
            self._trials[device] += change
