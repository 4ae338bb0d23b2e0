"""Reading a repository executes nothing that it configures: one hostile repository per kind, read by every entry.

Each has a control: a plain git command that does run the program, so that a scene which hurts nobody cannot pass.

pytest tests/unit/run/test_hostile_repositories.py
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.commands import REPOSITORY
from tinyworlds_gate.cli import doctor
from tinyworlds_gate.evidence.git_audit.audit import audit
from tinyworlds_gate.run.git import NoGit, Repository, program
from tinyworlds_gate.run.source_state import source_state

DATE = {"GIT_COMMITTER_DATE": "2025-06-01T12:00:00 +0000", "GIT_AUTHOR_DATE": "2025-06-01T12:00:00 +0000"}


class Scene:
    """A repository with one commit of 2025 and a tracked file that was touched since, and a program `evil`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repo = folder / "repo"
        self.marker = folder / "executed"
        self.evil = folder / "evil"
        self.evil.write_text(f"#!/bin/sh\necho \"$0 $*\" >> '{self.marker}'\ncat >/dev/null 2>&1 </dev/null\nexit 1\n")
        self.evil.chmod(0o755)
        self.make(self.repo)

    def make(self, repo: Path) -> None:
        (repo / "configs").mkdir(parents=True)
        (repo / "configs" / "training.yaml").write_text("dataset: ZELDA\n")
        (repo / ".gitattributes").write_text("*.yaml filter=evil diff=evil merge=evil\n")
        self.git("init", "-q", at=repo)
        self.git("add", ".", at=repo)
        self.git("-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-q", "-m", "one", at=repo)
        os.utime(repo / "configs" / "training.yaml", (1, 1))

    def git(self, *words: str, at: Path | None = None, **more: str) -> subprocess.CompletedProcess[bytes]:
        plain = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        environment = plain | DATE | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull} | more
        command = ["git", "-c", "protocol.file.allow=always", *words]
        return subprocess.run(
            command, cwd=at or self.repo, env=environment, capture_output=True, check=False, timeout=60
        )

    def set(self, key: str, value: str | None = None, *where: str) -> None:
        done = self.git("config", *where, key, str(self.evil) if value is None else value)
        assert done.returncode == 0, done.stderr

    def append(self, file: Path, text: str) -> None:
        with file.open("a") as stream:
            stream.write(text)


def fsmonitor(scene: Scene) -> None:
    scene.set("core.fsmonitor")


def clean_filter(scene: Scene) -> None:
    scene.set("filter.evil.clean")


def process_filter(scene: Scene) -> None:
    scene.set("filter.evil.process")


def filter_with_an_odd_name(scene: Scene) -> None:
    scene.set("filter.e=v il.clean")
    (scene.repo / ".git" / "info").mkdir(exist_ok=True)
    scene.append(scene.repo / ".git" / "config", f'[filter "evil"]\n\tclean = {scene.evil}\n\trequired = true\n')


def hooks_path(scene: Scene) -> None:
    hooks = scene.repo / "hooks"
    hooks.mkdir()
    for name in ("post-index-change", "fsmonitor-watchman", "reference-transaction", "post-checkout"):
        shutil.copy(scene.evil, hooks / name)
    scene.set("core.hooksPath", str(hooks))


def include(scene: Scene) -> None:
    (scene.repo / "more").write_text(f"[core]\n\tfsmonitor = {scene.evil}\n")
    scene.set("include.path", str(scene.repo / "more"))


def conditional_include(scene: Scene) -> None:
    (scene.repo / "more").write_text(f"[core]\n\tfsmonitor = {scene.evil}\n")
    scene.set(f"includeIf.gitdir:{scene.repo}/.path", str(scene.repo / "more"))


def worktree_configuration(scene: Scene) -> None:
    scene.set("extensions.worktreeConfig", "true")
    scene.set("core.fsmonitor", None, "--worktree")


def git_file(scene: Scene) -> None:
    scene.set("core.fsmonitor")
    (scene.repo / ".git").rename(scene.folder / "elsewhere")
    (scene.repo / ".git").write_text("gitdir: ../elsewhere\n")


def linked_worktree(scene: Scene) -> None:
    scene.set("core.fsmonitor")
    main = scene.folder / "main"
    scene.repo.rename(main)
    done = scene.git("worktree", "add", "-q", "--detach", str(scene.repo), at=main)
    scene.marker.unlink(missing_ok=True)
    assert done.returncode == 0, done.stderr


def submodule(scene: Scene) -> None:
    inner = scene.repo / "inner"
    scene.make(inner)
    done = scene.git("add", "inner")
    assert done.returncode == 0, done.stderr
    scene.git("config", "core.fsmonitor", str(scene.evil), at=inner)
    scene.git("config", "filter.evil.clean", str(scene.evil), at=inner)


def external_diff(scene: Scene) -> None:
    scene.set("diff.external")
    (scene.repo / "configs" / "training.yaml").write_text("dataset: other\n")


def diff_driver(scene: Scene) -> None:
    scene.set("diff.evil.command")
    (scene.repo / "configs" / "training.yaml").write_text("dataset: other\n")


def textconv(scene: Scene) -> None:
    scene.set("diff.evil.textconv")


def signature_program(scene: Scene) -> None:
    scene.set("gpg.program")
    scene.set("log.showSignature", "true")
    commit = scene.git("cat-file", "commit", "HEAD").stdout
    signed = commit.replace(b"\n\n", b"\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n -----END PGP SIGNATURE-----\n\n", 1)
    (scene.folder / "commit").write_bytes(signed)
    words = ("hash-object", "-t", "commit", "-w", "--literally", str(scene.folder / "commit"))
    sha = scene.git(*words).stdout.decode().strip()
    scene.git("update-ref", "refs/heads/" + scene.git("branch", "--show-current").stdout.decode().strip(), sha)


def promisor_remote(scene: Scene) -> None:
    blob = scene.git("rev-parse", "HEAD:configs/training.yaml").stdout.decode().strip()
    (scene.repo / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    scene.set("extensions.partialClone", "origin")
    scene.set("core.repositoryFormatVersion", "1")
    scene.set("remote.origin.url", f"ext::{scene.evil}")
    scene.set("remote.origin.promisor", "true")
    scene.set("protocol.ext.allow", "always")


def promisor_by_ssh(scene: Scene) -> None:
    promisor_remote(scene)
    scene.set("remote.origin.url", "ssh://example.invalid/repository")
    scene.set("core.sshCommand")


def upload_pack(scene: Scene) -> None:
    promisor_remote(scene)
    scene.set("remote.origin.url", str(scene.repo))
    scene.set("remote.origin.uploadpack")


def credential_helper(scene: Scene) -> None:
    promisor_remote(scene)
    scene.set("remote.origin.url", "https://example.invalid/repository")
    scene.set("credential.helper", f"!{scene.evil}")
    scene.set("core.askPass")


def pager(scene: Scene) -> None:
    scene.set("core.pager")
    scene.set("pager.log")


def alias(scene: Scene) -> None:
    for name in ("x", "rev-list", "log", "diff"):
        scene.set(f"alias.{name}", f"!{scene.evil}")


def bare_repository_in_the_root(scene: Scene) -> None:
    scene.set("core.fsmonitor")
    scene.set("core.worktree", str(scene.repo))
    for path in [*(scene.repo / ".git").iterdir()]:
        path.rename(scene.repo / path.name)
    (scene.repo / ".git").rmdir()


KINDS: list[tuple[Callable[[Scene], None], tuple[str, ...]]] = [
    (fsmonitor, ("status",)),
    (clean_filter, ("diff",)),
    (process_filter, ("diff",)),
    (filter_with_an_odd_name, ("diff",)),
    (hooks_path, ("status",)),
    (include, ("status",)),
    (conditional_include, ("status",)),
    (worktree_configuration, ("status",)),
    (git_file, ("status",)),
    (linked_worktree, ("status",)),
    (submodule, ("status",)),
    (external_diff, ("diff",)),
    (diff_driver, ("diff",)),
    (textconv, ("log", "-p")),
    (signature_program, ("log",)),
    (promisor_remote, ("log", "-p")),
    (promisor_by_ssh, ("log", "-p")),
    (upload_pack, ("log", "-p")),
    (credential_helper, ()),
    (pager, ()),
    (alias, ("x",)),
    (bare_repository_in_the_root, ("status",)),
]


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    return Scene(tmp_path)


def read_by_every_entry(repo: Path) -> None:
    source_state(repo)
    for year in (2025, 2024):
        audit(repo, year, "wide")
    list(doctor.repository(repo, shutil.which))


@pytest.mark.requirement("L4")
@pytest.mark.parametrize(("prepare", "control"), KINDS, ids=[prepare.__name__ for prepare, _ in KINDS])
def test_no_entry_executes_what_a_repository_configures(
    scene: Scene, prepare: Callable[[Scene], None], control: tuple[str, ...]
) -> None:
    prepare(scene)
    scene.marker.unlink(missing_ok=True)
    read_by_every_entry(scene.repo)
    assert not scene.marker.exists(), scene.marker.read_text()
    if control:  # git asks a credential helper for a server only, and starts a pager on a terminal only
        scene.git(*control)
        assert scene.marker.exists(), "the control: plain git runs the program of this scene"


INHERITED = (
    "GIT_EXTERNAL_DIFF",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_PAGER",
    "GIT_EDITOR",
    "GIT_ASKPASS",
    "GIT_PROXY_COMMAND",
    "GIT_EXEC_PATH",
    "GIT_TRACE2",
)


@pytest.mark.requirement("L4")
def test_nothing_that_the_environment_configures_is_executed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in INHERITED:
        monkeypatch.setenv(name, str(scene.evil))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.fsmonitor")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", str(scene.evil))
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", f"'core.fsmonitor={scene.evil}'")
    monkeypatch.setenv("GIT_DIR", str(scene.folder / "nowhere"))
    read_by_every_entry(scene.repo)
    assert not scene.marker.exists(), scene.marker.read_text()
    assert source_state(scene.repo).dirty is False
    assert audit(scene.repo, 2025).verdict == "PASS"


@pytest.mark.requirement("L4")
def test_a_git_of_the_checkout_is_not_the_program_git(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(scene.evil, scene.repo / "git")
    monkeypatch.chdir(scene.repo)
    monkeypatch.setenv("PATH", os.pathsep.join(["", ".", os.environ["PATH"]]))
    read_by_every_entry(scene.repo)
    assert not scene.marker.exists()
    monkeypatch.setenv("PATH", ".")
    with pytest.raises(NoGit):
        program()


def test_the_repository_is_not_written(scene: Scene) -> None:
    index = scene.repo / ".git" / "index"
    before = (index.read_bytes(), sorted((scene.repo / ".git").rglob("*")))
    read_by_every_entry(scene.repo)
    assert (index.read_bytes(), sorted((scene.repo / ".git").rglob("*"))) == before


def test_dirty_is_what_git_itself_says(scene: Scene) -> None:
    def is_dirty() -> bool:
        with Repository(scene.repo) as repository:
            return repository.is_dirty()

    settings = scene.repo / "configs" / "training.yaml"
    assert not is_dirty()
    settings.write_text("dataset: other\n")
    assert is_dirty()
    scene.git("add", ".")
    assert is_dirty(), "staged"
    settings.write_text("dataset: ZELDA\n")
    assert is_dirty(), "staged, and taken back in the work tree"
    scene.git("reset", "-q", "--hard")
    assert not is_dirty()
    settings.unlink()
    assert is_dirty()
    scene.git("reset", "-q", "--hard")
    scene.git("update-index", "--split-index")
    assert not is_dirty()
    settings.write_text("dataset: other\n")
    assert is_dirty()


def test_a_change_inside_a_submodule_makes_the_project_dirty(scene: Scene) -> None:
    submodule(scene)
    scene.git("-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-q", "-m", "two")
    assert source_state(scene.repo).dirty is False
    (scene.repo / "inner" / "configs" / "training.yaml").write_text("dataset: other\n")
    assert source_state(scene.repo).dirty is True


def test_no_other_module_starts_git() -> None:
    """`git` as a word of a command, or GitPython, in any module of the package but `run/git.py`."""
    found = []
    for path in (REPOSITORY / "tinyworlds_gate").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import) and any(one.name.partition(".")[0] == "git" for one in node.names):
                found.append(f"{path.name}:{node.lineno} imports GitPython")
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "git":
                found.append(f"{path.name}:{node.lineno} imports GitPython")
            if isinstance(node, ast.Call) and _starts_git(node):
                found.append(f"{path.name}:{node.lineno} starts git")
    assert found == []
    assert _starts_git(ast.parse('subprocess.run(["git", "status"])', mode="eval").body)
    assert _starts_git(ast.parse('os.system("git status")', mode="eval").body)


STARTERS = {"run", "Popen", "call", "check_call", "check_output", "system", "popen", "execvp", "spawnlp", "getoutput"}


def _starts_git(call: ast.AST) -> bool:
    if not isinstance(call, ast.Call) or not call.args:
        return False
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    command = call.args[0]
    first = command.elts[0] if isinstance(command, ast.List | ast.Tuple) and command.elts else command
    words = first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""
    return name in STARTERS and words.partition(" ")[0].rpartition("/")[2] == "git"
