"""Runs a Python process that ends, with all its children, when the parent does.

Usage: `python -m flows.runtime.supervisor ARGUMENTS...`.

The parent holds the write end of our standard input. When it dies, the kernel closes that end, and
the whole process group is killed: a signal to a server alone would not end its own workers. SIGTERM
is passed on to the process, and once it has ended the group is killed.
"""

import os
import signal
import subprocess
import sys
from types import FrameType

from models.lifetime import end_when


def main() -> None:
    """Run our interpreter with the arguments until it ends, then kill our process group.

    Since this process is in the group, the parent always sees it die of SIGKILL.
    """
    command = [sys.executable, *sys.argv[1:]]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 - our own arguments

    def end(_number: int, _frame: FrameType | None) -> None:
        process.terminate()

    signal.signal(signal.SIGTERM, end)
    end_when(sys.stdin.buffer.read, end=_kill_group)
    process.wait()
    _kill_group()


def _kill_group() -> None:
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
