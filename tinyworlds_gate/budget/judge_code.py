"""The judge's program: what it consists of, whether it is as it was, and a process of it in a clean environment.

The judge is `tinyworlds-gate` in a fresh interpreter without `site`, so that no `.pth` file, `sitecustomize` or
variable of Python adds code. Its import path is a list that was made before the command started.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from tinyworlds_gate.errors import LaunchError
from tinyworlds_gate.run.installation import PACKAGE, shipped_folder
from tinyworlds_gate.run.redact import redact
from tinyworlds_gate.run.source_state import harness_sha256

_PASSED_ON = (
    *("LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES"),
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "LANG", "LC_ALL"),
)
"""Variables of the harness, read before the command starts, that the judge gets too."""
_START = "import sys; sys.path[:] = {paths!r}; from tinyworlds_gate.cli.main import main; sys.exit(main(sys.argv[1:]))"
_COMPILED, _INSTALLED, _BYTECODE = "__pycache__", "site-packages", "bytecode"
"""Folders; a `site-packages` that is no entry of the import path is never imported from."""
_IMPORTABLE = (".py", ".pyc", ".so", ".pth")
_TAIL = 400


@dataclass(frozen=True)
class JudgeCode:
    """The files of the judge's program at one moment.

    ``package_sha256`` is over the contents of this package; ``files`` has size, inode, mode and times of every file of
    the import path, compiled ones included. Nobody can set a file's change time (ctime) back.
    """

    paths: tuple[str, ...]
    package_sha256: str
    files: Mapping[str, tuple[int, ...]]

    @property
    def sha256(self) -> str:
        """One SHA-256 of the package's contents and of the names and sizes of all files that are not compiled."""
        named = sorted((name, facts[0]) for name, facts in self.files.items() if _COMPILED not in name)
        return sha256(json.dumps([self.package_sha256, named]).encode()).hexdigest()

    def changed_to(self, now: JudgeCode) -> str | None:
        """Return what differs, for a sentence; None where the program is the same."""
        for name in sorted(self.files.keys() | now.files.keys()):
            was, found = self.files.get(name), now.files.get(name)
            if was != found:
                return f"{name} was {'added' if was is None else 'removed' if found is None else 'changed'}"
        return None if self.package_sha256 == now.package_sha256 else f"{PACKAGE} was changed"


def read_judge_code() -> JudgeCode:
    """Look at every file of the judge's import path, of its interpreter, and at what could be imported instead."""
    paths = import_path()
    files: dict[str, tuple[int, ...]] = {}
    for name in (sys.executable, os.path.realpath(sys.executable), os.path.join(sys.prefix, "pyvenv.cfg")):
        if os.path.exists(name):
            files[name] = _facts(os.lstat(name))
    for top in (*paths[:-1], str(PACKAGE), str(shipped_folder("configs"))):
        _look(top, set(paths), files)
    _look_beside(PACKAGE, files)
    return JudgeCode(paths, harness_sha256(PACKAGE), files)


def import_path() -> tuple[str, ...]:
    """Return the absolute import path of the judge: that of this process, and last the folder of this package."""
    own = str(PACKAGE.parent)
    others = [os.path.abspath(one) for one in sys.path if one and os.path.exists(one)]
    here = os.getcwd()
    return (*dict.fromkeys(one for one in others if one not in (own, here)), own)


@dataclass(frozen=True)
class Judge:
    """Starts `tinyworlds-gate` with the arguments of a judgement; made before the command starts."""

    code: JudgeCode
    home: Path
    variables: Mapping[str, str]

    def run(self, arguments: Sequence[str], timeout_s: float) -> tuple[int, str, str]:
        """Return exit code, standard output and the end of standard error.

        Raises:
            LaunchError: it cannot be started or took too long.
        """
        (self.home / "tmp").mkdir(parents=True, exist_ok=True)
        # Compiled files of the import path are not used: they may be older than the first look at them.
        own = ["-X", f"pycache_prefix={self.home / _BYTECODE}"]
        start = _START.format(paths=list(self.code.paths))
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-S", *own, "-c", start, *arguments],
                cwd=self.home,
                env=judge_environment(self.variables, self.home, self.code.paths),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise LaunchError(f"the judge needed more than {timeout_s:g} s; measure fewer clips (--clips)") from None
        except OSError as error:
            raise LaunchError(f"the judge cannot be started: {error.strerror} ({error.filename})") from error
        last = done.stderr.decode("utf-8", "replace").strip()[-_TAIL:]
        return done.returncode, done.stdout.decode("utf-8", "replace"), redact(last)


def judge_environment(variables: Mapping[str, str], home: Path, paths: Sequence[str]) -> dict[str, str]:
    """Return the whole environment of the judge: nothing of the command, and a home of its own."""
    kept = {name: variables[name] for name in _PASSED_ON if name in variables}
    own = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "MPLCONFIGDIR", "TORCHINDUCTOR_CACHE_DIR"), str(home))
    # Processes that the judge starts (it examines HDF5 files in one) find the same modules.
    modules = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONPYCACHEPREFIX": str(home / _BYTECODE)}
    return {**kept, **own, **modules, "PATH": os.defpath, "TMPDIR": str(home / "tmp")}


def _look(path: str, others: set[str], files: dict[str, tuple[int, ...]]) -> None:
    """Add the facts of all files below ``path``, without those of another entry of the import path."""
    if not os.path.isdir(path):
        files[path] = _facts(os.lstat(path))
        return
    with os.scandir(path) as entries:
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                files[entry.path] = _facts(entry.stat(follow_symlinks=False))
            elif entry.path not in others and entry.name != _INSTALLED:
                _look(entry.path, others, files)


def _look_beside(package: Path, files: dict[str, tuple[int, ...]]) -> None:
    """Add modules and packages beside this one, which a process of the judge could import in place of installed ones.

    A checkout has results and data there too; they are no modules.
    """
    for path in package.parent.iterdir():
        modules = [path] if path.suffix in _IMPORTABLE else sorted(path.glob("__init__.*")) if path.is_dir() else []
        files.update({str(one): _facts(one.lstat()) for one in modules if one.parent != package})


def _facts(found: os.stat_result) -> tuple[int, ...]:
    return found.st_size, found.st_ino, found.st_mode, found.st_mtime_ns, found.st_ctime_ns
