"""The only module that starts git: it reads a repository without executing anything that the repository configures.

A repository's own files can make git run programs: its configuration (fsmonitor, filters, hooks, external diffs,
aliases, signatures, transports), included files, worktree configuration, submodules. Git therefore only locates the
repository there. Everything else is read through a temporary repository of ours, whose configuration we write and whose
objects are those of the repository.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

TIMEOUT_S = 120.0
_DEEPEST_SUBMODULE = 8
_LOCATING = ("HOME", "XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM")
"""Where the user's own configuration is: `safe.directory`, which says whose repositories git reads."""
_KEPT_SETTINGS = r"^core\.(autocrlf|eol|filemode|ignorecase|symlinks)$"
"""How files lie in the work tree; none of them names a program or a file."""
_FIXED = {
    "LC_ALL": "C",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_DIFF_OPTS": "",
    "GIT_GRAFT_FILE": os.devnull,
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
}


class GitError(Exception):
    """git is absent, or did not do what was needed; the message is what git said."""


class NoGit(GitError):
    """The program git is not on PATH."""


class NoRepository(GitError):
    """No repository contains the folder."""


class Repository:
    """The repository that contains a folder, also inside a git hook, whose environment names another one.

    Use it as a context manager: it can hold a temporary folder.

    Raises:
        NoGit: the program git was not found.
        NoRepository: there is none, or the folder does not exist.
        GitError: git refuses to read it (it belongs to another user, or is damaged).
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise NoRepository(f"{folder} is not a folder")
        self.folder = folder
        questions = ("--show-object-format", "--is-bare-repository", "--absolute-git-dir", "--git-common-dir")
        answers = self._locate(*questions).split("\n")
        if len(answers) != len(questions):
            raise GitError(f"the path of the repository of {folder} has a line break")
        self._object_format, self._is_bare, git_dir, common_dir = answers
        self.git_dir, self.common_dir = Path(git_dir), (folder / common_dir).resolve()
        self.top = self._top()
        self._view: tempfile.TemporaryDirectory[str] | None = None

    def _top(self) -> Path | None:
        """The root of the work tree; None in a bare repository."""
        if self._is_bare == "true":
            return None
        try:
            return Path(self._locate("--show-toplevel"))
        except GitError:  # the folder is inside .git
            return self.git_dir.parent

    def _locate(self, *words: str) -> str:
        """The answer of `git rev-parse` in the repository itself, which runs no program of its configuration."""
        try:
            answer = _run(["rev-parse", *words], self.folder, _locating_environment())
        except GitError as error:
            if "not a git repository" in str(error):
                raise NoRepository(str(error)) from None
            raise
        return os.fsdecode(answer).removesuffix("\n")

    def __enter__(self) -> Repository:
        return self

    def __exit__(self, *_: object) -> None:
        if self._view is not None:
            self._view.cleanup()
            self._view = None

    def head(self) -> str | None:
        """The hash of the commit of HEAD; None before the first commit."""
        try:
            return self._locate("--verify", "HEAD")
        except GitError as error:
            if "single revision" not in str(error):
                raise
            return None

    def shallow_commits(self) -> set[str]:
        """The commits whose parents a shallow clone left out."""
        marker = self.common_dir / "shallow"
        return set(marker.read_text(encoding="ascii", errors="replace").split()) if marker.is_file() else set()

    def is_partial(self) -> bool:
        """Whether it is a partial clone: git may have left objects out."""
        return any((self.common_dir / "objects" / "pack").glob("*.promisor"))

    def read(self, *words: str) -> str:
        """What a git command prints; raises ``GitError`` where it fails."""
        return os.fsdecode(_run(words, self._place(), self._environment()))

    @contextmanager
    def stream(self, *words: str, stdin: IO[bytes] | None = None) -> Iterator[IO[bytes]]:
        """The output of a git command as it comes; raises ``GitError`` at the end if the command fails."""
        with (
            tempfile.TemporaryFile() as errors,
            _start(words, self._place(), self._environment(), stdin=stdin, stderr=errors) as process,
        ):
            assert process.stdout is not None
            try:
                yield process.stdout
            except BaseException:
                process.kill()
                raise
            if process.wait() != 0:
                errors.seek(0)
                raise GitError(_message(errors.read()))

    def is_dirty(self) -> bool:
        """Whether tracked files differ from HEAD, in submodules too. Filters are not run: a filtered file that was
        touched since it was checked out counts as changed."""
        return self._is_dirty(_DEEPEST_SUBMODULE)

    def _is_dirty(self, depth: int) -> bool:
        if self.top is None:
            return False
        compare = ("diff", "--quiet", "--no-ext-diff", "--no-textconv", "--ignore-submodules=dirty")
        if any(self._differs(*compare, *which) for which in (("--cached",), ())):
            return True
        return any(_is_dirty_submodule(path, depth) for path in self._submodules())

    def _differs(self, *words: str) -> bool:
        with _start(words, self._place(), self._environment(), stderr=subprocess.PIPE) as process:
            _, errors = _communicate(process)
        if process.returncode not in (0, 1):
            raise GitError(_message(errors))
        return process.returncode == 1

    def _submodules(self) -> Iterator[Path]:
        assert self.top is not None
        for line in self.read("ls-files", "--stage", "-z").split("\0"):
            if line.startswith("160000 "):
                yield self.top / line.partition("\t")[2]

    def _place(self) -> Path:
        return self.folder if self.top is None else self.top

    def _environment(self) -> dict[str, str]:
        """For commands that read content: our repository with this one's objects, work tree and a copy of its index."""
        if self._view is None:
            self._view = tempfile.TemporaryDirectory(prefix="tinyworlds-gate-git-")
            self._fill(Path(self._view.name))
        view = Path(self._view.name)
        own = {
            "GIT_DIR": str(view),
            "GIT_OBJECT_DIRECTORY": str(self.common_dir / "objects"),
        }
        return {**_own_configuration(view), **own} | ({} if self.top is None else {"GIT_WORK_TREE": str(self.top)})

    def _fill(self, view: Path) -> None:
        head = self.head()
        for folder in ("objects", "refs"):
            (view / folder).mkdir()
        (view / "HEAD").write_text(f"{head}\n" if head else "ref: refs/heads/none\n", encoding="ascii")
        lines = ["[core]", "repositoryFormatVersion = 1", f"bare = {str(self.top is None).lower()}"]
        lines += self._kept_settings()
        lines += ["[extensions]", f"objectFormat = {self._object_format}"]
        (view / "config").write_text("\n".join(lines) + "\n", encoding="ascii")
        if (self.common_dir / "shallow").is_file():
            shutil.copyfile(self.common_dir / "shallow", view / "shallow")
        # Copied, because `git diff` writes what it has learnt; with its time, by which git knows of later changes.
        for index in (self.git_dir / "index", *self.git_dir.glob("sharedindex.*")):
            if index.is_file():
                shutil.copy2(index, view / index.name)

    def _kept_settings(self) -> list[str]:
        try:
            answer = _run(["config", "-z", "--get-regexp", _KEPT_SETTINGS], self.folder, _locating_environment())
        except GitError:  # none is set
            return []
        pairs = [one.partition("\n") for one in answer.decode("utf-8", "replace").split("\0")]
        return [f"{name[5:]} = {value}" for name, _, value in pairs if value.isalpha() and value.isascii()]


def _is_dirty_submodule(path: Path, depth: int) -> bool:
    """Of a submodule that is checked out; a link in its place leads elsewhere and is not followed."""
    if depth == 0 or path.is_symlink() or not (path / ".git").exists():
        return False
    with Repository(path) as repository:
        return repository.top == path.resolve() and repository._is_dirty(depth - 1)


def run_in_own_folder(folder: Path, *words: str, content: Iterator[bytes] | None = None) -> None:
    """Run a git command in a repository that we make ourselves (benchmarks, scenes of the gate's power).

    Args:
        content: what the command reads, for `fast-import`.

    Raises:
        GitError: git is absent, or failed.
    """
    with tempfile.TemporaryDirectory() as home, tempfile.TemporaryFile() as errors:
        environment = _own_configuration(Path(home))
        stdin = subprocess.DEVNULL if content is None else subprocess.PIPE
        with _start(words, folder, environment, stdin=stdin, stdout=subprocess.DEVNULL, stderr=errors) as process:
            if process.stdin is not None:
                with suppress(BrokenPipeError):
                    for part in content or ():
                        process.stdin.write(part)
                    process.stdin.close()
        if process.returncode:
            errors.seek(0)
            raise GitError(_message(errors.read()))


def program() -> str:
    """The path of the program git, from the absolute folders of PATH: a relative one may lead into a checkout.

    Raises:
        NoGit: there is none.
    """
    found = shutil.which("git", path=_search_path())
    if found is None:
        raise NoGit("The git program was not found.")
    return found


def _search_path() -> str:
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(one for one in folders if os.path.isabs(one))


def _locating_environment() -> dict[str, str]:
    return {"PATH": _search_path(), **_FIXED, **{name: os.environ[name] for name in _LOCATING if name in os.environ}}


def _own_configuration(home: Path) -> dict[str, str]:
    """An environment in which neither the user's nor the machine's configuration is read."""
    nothing = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    return {"PATH": _search_path(), "HOME": str(home), **_FIXED, **nothing}


def _run(words: Sequence[str], folder: Path, environment: Mapping[str, str]) -> bytes:
    with _start(words, folder, environment, stderr=subprocess.PIPE) as process:
        output, errors = _communicate(process)
    if process.returncode:
        raise GitError(_message(errors))
    return output


def _communicate(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    try:
        return process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        raise GitError(f"git did not answer within {TIMEOUT_S:.0f} s.") from None
    except BaseException:
        process.kill()
        raise


def _start(
    words: Sequence[str], folder: Path, environment: Mapping[str, str], *, stdin: Any = None, **pipes: Any
) -> subprocess.Popen[bytes]:
    settings = ("core.hooksPath=/dev/null", "core.fsmonitor=false", "core.pager=cat", "protocol.allow=never")
    command = [program(), "--no-pager", *(word for one in settings for word in ("-c", one)), *words]
    pipes = {"stdout": subprocess.PIPE, **pipes}
    try:
        return subprocess.Popen(
            command, cwd=folder, env=dict(environment), stdin=subprocess.DEVNULL if stdin is None else stdin, **pipes
        )
    except OSError as error:
        raise GitError(f"git could not be started in {folder}: {error.strerror}.") from error


def _message(errors: bytes) -> str:
    return errors.decode("utf-8", "replace").strip()
