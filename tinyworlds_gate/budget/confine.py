"""Start a command that can write only into its own folders, reaches no other process or machine, and has no rights.

The harness runs this file by its path (`python -I -S confine.py JSON -- COMMAND …`), so it imports the standard library
only. On Linux it uses Landlock where the kernel has it: the restrictions hold for the command and for all processes
that it starts, and nothing lifts them. Exit status 125: the restrictions could not be applied, the command did not run.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import resource
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

CANNOT_CONFINE = 125
NOT_CONFINED = "[budget] the command cannot be confined:"

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_READ_VERSION, _PATH_BENEATH = 1, 1
_WRITE_FILE, _READ_FILE, _TRUNCATE = 1 << 1, 1 << 2, 1 << 14
_MAKE_AND_REMOVE = sum(1 << bit for bit in range(4, 13))
_MOVE = 1 << 13
_OF_FILES = _WRITE_FILE | _READ_FILE | _TRUNCATE
_NO_SIGNALS_NO_ABSTRACT_SOCKETS = 3

_NEW_NETWORK, _NEW_MOUNTS, _NEW_USER = 0x40000000, 0x20000, 0x10000000
_PRIVATE_BELOW = 0x44000
_SET_FLAGS, _UP_AND_RUNNING = 0x8914, 0x41
PROBE = "--can-leave-network"

_SET_DUMPABLE, _CAPBSET_DROP, _SET_SUBREAPER, _NO_NEW_PRIVS, _CAP_AMBIENT = 4, 24, 36, 38, 47
_RIGHTS = {
    **{"SETPCAP": 8, "NET_ADMIN": 12, "NET_RAW": 13, "SYS_MODULE": 16, "SYS_RAWIO": 17, "SYS_CHROOT": 18},
    **{"SYS_PTRACE": 19, "SYS_ADMIN": 21, "SYS_BOOT": 22, "SYS_RESOURCE": 24, "SYS_TIME": 25, "MKNOD": 27},
    **{"MAC_OVERRIDE": 32, "MAC_ADMIN": 33, "SYSLOG": 34, "WAKE_ALARM": 35, "PERFMON": 38, "BPF": 39, "RESTORE": 40},
}
"""Capabilities of root with which a command could set the clock, read another process's memory, or mount."""

DEVICES = (
    *("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx", "/dev/pts"),
    *("/dev/shm", "/dev/dri", "/dev/kfd", "/dev/nvidia-caps"),
)
"""Writable for every command; and `/dev/nvidia*`."""


def landlock_version() -> int:
    """Return the version of Landlock of this kernel; 0 where there is none."""
    if sys.platform != "linux":
        return 0
    return max(0, int(_libc().syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _READ_VERSION)))


def guard_own_process() -> bool:
    """Protect the memory of this process from others of its user, and adopt the orphans of its children.

    Returns False where the system cannot do it (not Linux).
    """
    if sys.platform != "linux":
        return False
    libc = _libc()
    return libc.prctl(_SET_DUMPABLE, 0, 0, 0, 0) == 0 and libc.prctl(_SET_SUBREAPER, 1, 0, 0, 0) == 0


def can_leave_network() -> bool:
    """Return whether a command can be started apart: with a network that has the loopback device only."""
    if sys.platform != "linux":
        return False
    probe = subprocess.run([sys.executable, "-I", "-S", __file__, PROBE], capture_output=True, check=False)
    return probe.returncode == 0


def main(argv: Sequence[str]) -> None:
    """Apply the restrictions of ``argv[0]`` (JSON) and become the command after `--`."""
    if argv[0] == PROBE:
        _leave_network()
        return
    asked: dict[str, Any] = json.loads(argv[0])
    command = list(argv[2:])
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        most = int(asked["file_bytes"])
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        if sys.platform == "linux":
            if asked["alone"]:
                _leave_network()
            _give_up_rights()
            if asked["landlock"]:
                _restrict([Path(one) for one in asked["writable"]], [Path(one) for one in asked["hidden"]])
    except OSError as error:
        print(f"{NOT_CONFINED} {error}", file=sys.stderr)
        sys.exit(CANNOT_CONFINE)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        sys.exit(127 if isinstance(error, FileNotFoundError) else 126)


def _leave_network() -> None:
    """Move into a network with nothing but the loopback device, and take an empty /dev/shm that ends with the command.

    Without root by a user namespace.

    Raises:
        OSError: the system does not allow it.
    """
    user, group, libc = os.getuid(), os.getgid(), _libc()
    if libc.unshare(_NEW_NETWORK | _NEW_MOUNTS) != 0:
        _checked(libc.unshare(_NEW_USER | _NEW_NETWORK | _NEW_MOUNTS), "unshare")
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    _checked(libc.mount(b"none", b"/", None, ctypes.c_ulong(_PRIVATE_BELOW), None), "mount /")
    if os.path.isdir("/dev/shm"):
        _checked(libc.mount(b"tmpfs", b"/dev/shm", b"tmpfs", ctypes.c_ulong(0), b"mode=1777"), "mount /dev/shm")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
        fcntl.ioctl(device, _SET_FLAGS, struct.pack("16sH14x", b"lo", _UP_AND_RUNNING))


def _give_up_rights() -> None:
    """Drop the capabilities of `_RIGHTS` for good; programs with the set-user-ID bit give none back."""
    libc = _libc()
    for number in _RIGHTS.values():
        libc.prctl(_CAPBSET_DROP, number, 0, 0, 0)  # refused without SETPCAP, where there is nothing to drop
    libc.prctl(_CAP_AMBIENT, 4, 0, 0, 0)
    header = struct.pack("<Ii", 0x20080522, 0)
    held = ctypes.create_string_buffer(24)
    if libc.capget(header, held) == 0:
        low = struct.unpack("<6I", held.raw)
        libc.capset(header, struct.pack("<6I", low[0], low[1], 0, low[3], low[4], 0))
    _checked(libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")


def _restrict(writable: Sequence[Path], hidden: Sequence[Path]) -> None:
    version = landlock_version()
    write = _WRITE_FILE | _MAKE_AND_REMOVE | (_MOVE if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    handled = write | (_READ_FILE if hidden else 0)
    scoped = _NO_SIGNALS_NO_ABSTRACT_SOCKETS if version >= 6 else 0
    attributes = struct.pack("<QQQ", handled, 0, scoped)[: 24 if version >= 6 else 16 if version >= 4 else 8]
    ruleset = _checked(
        _libc().syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0), "landlock_create_ruleset"
    )
    devices = [*map(Path, DEVICES), *Path("/dev").glob("nvidia*")]
    for path in (*writable, *(one for one in devices if one.exists())):
        _allow(ruleset, path, write)
    if hidden:
        for path in beside(hidden):
            _allow(ruleset, path, _READ_FILE)
    _checked(_libc().syscall(_RESTRICT_SELF, ruleset, 0), "landlock_restrict_self")
    os.close(ruleset)


def beside(hidden: Sequence[Path]) -> Iterator[Path]:
    """Yield the paths that together hold every file but the hidden ones: what lies beside each, and its folders."""
    lost = {one.resolve() for one in hidden}
    on_the_way = {folder for one in lost for folder in one.parents}
    pending = [Path("/")]
    while pending:
        folder = pending.pop()
        try:
            entries = [folder / name for name in os.listdir(folder)]
        except OSError:
            continue
        for entry in entries:
            if entry in lost or entry.is_symlink():
                continue
            if entry in on_the_way:
                pending.append(entry)
            else:
                yield entry


def _allow(ruleset: int, path: Path, access: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        own = access if os.path.isdir(path) else access & _OF_FILES
        rule = struct.pack("<Qi", own, descriptor)
        if _libc().syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0) < 0 and ctypes.get_errno() != 22:
            _checked(-1, f"landlock_add_rule {path}")
    finally:
        os.close(descriptor)


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
    return int(result)


if __name__ == "__main__":
    main(sys.argv[1:])
