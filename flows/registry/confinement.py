"""A process that may read and compute, and little else: for files that others made.

The second line behind `flows.registry.safety.archive`, which lets nothing through that runs. What
holds depends on the system, and none of it is a virtual machine:

- Linux with user namespaces: no network at all. Where they are forbidden (most containers) and the
  kernel has Landlock 4 (6.7): no TCP.
- Linux with Landlock (5.13): no file is written, made, renamed or deleted, no program is started.
- Everywhere: no file grows (RLIMIT_FSIZE), no core is dumped, CPU time ends somewhere;
  memory too, but on macOS.
- Everywhere, once `refuse_calls` was called: calls of Python that start programs, open sockets or
  change files raise. Code in C is not seen by that.

What the user may read can be read, and a service at a Unix socket's path be spoken to. Only the
standard library is imported, so that nothing runs before the process is confined.
"""

import ctypes
import os
import resource
import sys

_CLONE_NEWUSER, _CLONE_NEWNET = 0x1000_0000, 0x4000_0000
_CREATE_RULESET, _RESTRICT_SELF = 444, 446
"""System calls of Landlock: the same numbers on every processor."""
_GIVE_VERSION = 1
_NO_NEW_PRIVILEGES = 38
# Rights to files by version: to execute, write and make (1), rename away (2), truncate (3), ioctl
# of devices (5). Not asked for: READ_FILE and READ_DIR, bits 2 and 3.
_FILE_RIGHTS = {1: 0x1FF3, 2: 0x3FF3, 3: 0x7FF3, 5: 0xFFF3}
_TCP, _SIGNALS_AND_SOCKETS = 0b11, 0b11

_REFUSED = (
    *("os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.startfile"),
    *("os.system", "pty.spawn", "subprocess.Popen", "os.kill", "os.killpg", "signal.pthread_kill"),
    *("socket.__new__", "socket.bind", "socket.connect", "socket.getaddrinfo", "socket.sendto"),
    *("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate"),
    *("os.chmod", "os.chown", "os.utime", "shutil.rmtree", "shutil.move"),
)
"""Events of Python's audit (PEP 578)."""


def confine(*, memory_bytes: int, cpu_seconds: int) -> None:
    """Confine this process and all that it starts, for good; to be called before a thread starts.

    Each means that the system does not have is left out.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
        _forbid_writing(libc)
    for limit, most in (
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, cpu_seconds),
    ):
        _, hard = resource.getrlimit(limit)
        lower = most if hard == resource.RLIM_INFINITY else min(most, hard)
        try:
            resource.setrlimit(limit, (lower, lower))
        except ValueError:
            # macOS refuses to limit memory: "current limit exceeds maximum limit".
            if sys.platform == "linux" or limit != resource.RLIMIT_AS:
                raise


def refuse_calls() -> None:
    """Make calls of Python that leave a trace outside this process raise, for good."""

    def refuse(event: str, arguments: tuple[object, ...]) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING
        if writes or event in _REFUSED:
            raise PermissionError(f"{event} is refused while a version is tried")

    sys.addaudithook(refuse)


_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def _forbid_writing(libc: ctypes.CDLL) -> None:
    """Have Landlock handle what changes files, with no rule that would allow any of it."""
    version = libc.syscall(_CREATE_RULESET, None, 0, _GIVE_VERSION)
    if version < 1:
        return
    files = _FILE_RIGHTS[max(known for known in _FILE_RIGHTS if known <= version)]
    handled = [files, *([_TCP] if version >= 4 else []), *([_SIGNALS_AND_SOCKETS] * (version >= 6))]
    rules = (ctypes.c_uint64 * len(handled))(*handled)
    ruleset = libc.syscall(_CREATE_RULESET, rules, ctypes.sizeof(rules), 0)
    if ruleset < 0:
        return
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    libc.syscall(_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)
