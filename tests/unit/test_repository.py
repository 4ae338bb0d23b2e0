"""The frame that a newcomer meets: dependencies, make targets, documents, markers, and what an import costs.

python -m pytest tests/unit/test_repository.py
"""

from __future__ import annotations

import ast
import configparser
import os
import re
import shutil
import subprocess
import tomllib
from collections import deque
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.helpers.commands import REPOSITORY, python
from tests.helpers.import_graph import PACKAGE, figures
from tests.helpers.required_tools import without
from tinyworlds_gate.plugin.defaults import MARKERS

PYPROJECT = REPOSITORY / "pyproject.toml"
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/quickstart.md",
    "docs/install.md",
    "docs/using.md",
    "docs/architecture.md",
    "docs/log.md",
)
PAGES = (*DOCUMENTS, *sorted({f"docs/{page.name}" for page in (REPOSITORY / "docs").glob("*.md")} - {*DOCUMENTS}))
HEAVY = ("torch", "matplotlib", "crafter", "wandb")
CUDA_PARTS = re.compile(r"nvidia-(?!ml-py)|cuda-|triton")
"""What only the CUDA build of torch pulls in; torch pins these itself."""
LAYERS = (
    ("errors", "names", "__init__"),
    ("run",),
    ("config", "checkpoints"),
    ("reference",),
    ("targets",),
    ("launch",),
    ("stages",),
    ("evidence",),
    ("gate",),
    ("watch",),
    ("reports",),
    ("findings",),
    ("compare",),
    ("context",),
    ("loop",),
    ("plugin", "autoload"),
    ("keep",),
    ("power",),
    ("bench",),
    ("play",),
    ("horizon",),
    ("policies",),
    ("budget",),
    ("github",),
    ("cli",),
    ("__main__",),
)
"""docs/architecture.md: a part may import from its own row and the rows above."""
MACHINE_PATH = re.compile(r"(?<![\w./}-])/(?:work|root|tmp|opt|home/\w)/?\w")
# In two halves, so that this file does not name them either.
REGISTRY = re.compile("|".join(("py" + r"pi\.org", "python" + r"hosted\.org", r"download\.py" + r"torch\.org")))


def _dependencies() -> list[str]:
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]


def _pins() -> dict[str, str]:
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


def _tracked_texts() -> dict[str, str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout, so there is no list of tracked files")
    texts = {}
    for name in filter(None, listed.stdout.decode().split("\0")):
        path = REPOSITORY / name
        content = path.read_bytes() if path.is_file() else b""
        if b"\0" not in content:
            texts[name] = content.decode("utf-8")
    return texts


def _targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("dependency", _dependencies())
def test_every_dependency_has_a_lower_bound_and_a_reason(dependency: str) -> None:
    assert [one.operator for one in Requirement(dependency).specifier] == [">="]
    line = next(line for line in PYPROJECT.read_text(encoding="utf-8").splitlines() if f'"{dependency}"' in line)
    assert re.search(r"# \S.{8,}", line), line


def test_every_dependency_is_pinned_within_its_bound() -> None:
    pins = _pins()
    assert pins["torch"] == "2.13.0"
    outside = [text for text in _dependencies() if not _holds(Requirement(text), pins)]
    assert outside == []


def _holds(requirement: Requirement, pins: dict[str, str]) -> bool:
    version = pins.get(canonicalize_name(requirement.name))
    return version is not None and requirement.specifier.contains(version, prereleases=True)


def test_the_constraints_pin_everything_that_a_fresh_environment_holds() -> None:
    pins, missing = _pins(), set()
    wanted, seen = deque(Requirement(text) for text in _dependencies()), set()
    while wanted:
        requirement = wanted.popleft()
        name = canonicalize_name(requirement.name)
        if name in seen or CUDA_PARTS.match(name):
            continue
        seen.add(name)
        if name not in pins:
            missing.add(name)
            continue
        further = (Requirement(text) for text in metadata.requires(name) or [])
        wanted.extend(one for one in further if one.marker is None or one.marker.evaluate({"extra": ""}))
    assert missing == set()


def test_the_constraints_name_no_build_and_no_path() -> None:
    assert all(re.fullmatch(r"[0-9][0-9a-z.]*", version) for version in _pins().values())


def test_the_markers_are_declared_strict_and_explained() -> None:
    ini = configparser.ConfigParser(interpolation=None)
    ini.read(REPOSITORY / "pytest.ini")
    options = ini["pytest"]
    markers = dict(line.split(":", 1) for line in options["markers"].strip().splitlines()) | MARKERS
    named = {re.sub(r"\(.*", "", marker) for marker in markers}
    assert {"smoke", "longrun", "slow", "gpu", "power", "requirement"} <= named
    assert all(len(purpose.strip()) > 20 for purpose in markers.values())
    assert "--strict-markers" in options["addopts"]
    assert "--strict-config" in options["addopts"]
    with_optimize = "ignore:assertions not in test modules or plugins will be ignored:pytest.PytestConfigWarning"
    assert options["filterwarnings"].strip().splitlines() == ["error", with_optimize]
    assert '"not longrun and not slow and not power"' in options["addopts"]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_make_command_of_the_documents_exists(document: str) -> None:
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    named = set(re.findall(r"(?:`|^ *)make ([a-z-]+)", text, re.MULTILINE))
    assert named <= _targets()
    if document == "README.md":
        assert {"smoke", "test", "longrun", "lint", "bench", "clean"} <= named


@pytest.mark.parametrize("document", PAGES)
def test_every_local_link_and_file_of_the_documents_exists(document: str) -> None:
    path = REPOSITORY / document
    text = path.read_text(encoding="utf-8")
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    absent = [link for link in links if link and not (path.parent / link).exists()]
    assert absent == []
    modules = re.findall(r"`((?:[a-z_]+/)+\w+\.py)`", text)
    homes = (REPOSITORY, REPOSITORY / "tinyworlds_gate", REPOSITORY / "tinyworlds_gate" / "reference")
    assert [name for name in modules if not any((home / name).exists() for home in homes)] == []


def test_the_architecture_names_every_package() -> None:
    text = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    package = REPOSITORY / "tinyworlds_gate"
    parts = [*package.glob("*/__init__.py"), *(package / "reference").glob("*/__init__.py")]
    assert [path.parent.name for path in parts if f"{path.parent.name}/" not in text] == []
    assert [path.name for path in package.glob("[a-z]*.py") if f"`{path.name}`" not in text] == []


def test_no_tracked_file_names_a_registry_or_a_path_of_one_machine() -> None:
    found = [
        f"{name}: {match.group(0)}"
        for name, text in _tracked_texts().items()
        for match in (REGISTRY.search(text), MACHINE_PATH.search(text))
        if match
    ]
    assert found == []


def _imports(path: Path) -> set[str]:
    """The parts of this package that a module imports anywhere, also inside functions and for types."""
    parts: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif names == ["tinyworlds_gate"] and isinstance(node, ast.ImportFrom):
            names = [f"tinyworlds_gate.{alias.name}" for alias in node.names if not alias.name.startswith("_")]
        parts.update(name.split(".")[1] for name in names if name.startswith("tinyworlds_gate."))
    return parts


def test_nothing_imports_upward() -> None:
    rank = {part: number for number, parts in enumerate(LAYERS) for part in parts}
    package = REPOSITORY / "tinyworlds_gate"
    upward = []
    for path in package.rglob("*.py"):
        own = path.relative_to(package).parts[0].removesuffix(".py")
        upward += [f"{path.relative_to(package)} -> {part}" for part in _imports(path) if rank[part] > rank[own]]
    assert sorted(upward) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    found = figures(REPOSITORY / PACKAGE)
    assert found["circles_of_parts"] == []
    assert found["circles_of_modules"] == []


def test_the_package_root_holds_shared_vocabulary_and_packages_only() -> None:
    modules = {path.name for path in (REPOSITORY / PACKAGE).glob("*.py")}
    assert modules == {"__init__.py", "__main__.py", "context.py", "errors.py", "names.py"}


@pytest.mark.parametrize("module", ["tinyworlds_gate", "tinyworlds_gate.plugin", "tinyworlds_gate.loop.closed_loop"])
def test_importing_the_harness_imports_no_heavy_library(module: str) -> None:
    answer = python("-c", f"import sys, {module}; print(*sorted(sys.modules))")
    assert answer.returncode == 0, answer.stderr
    loaded = answer.stdout.split()
    assert module in loaded
    assert [name for name in HEAVY if name in loaded] == []


@pytest.fixture
def fresh_folder(tmp_path: Path) -> Path:
    """A folder with the Makefile and what it reads, and ``bin/`` with the tools of a machine that has no Python."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(REPOSITORY / name, tmp_path)
    (tmp_path / "bin").mkdir()
    for tool in ("make", "git", "grep", "touch", "sh"):
        found = shutil.which(tool)
        if found is None:
            without(tool, f"{tool} is not installed")
        (tmp_path / "bin" / tool).symlink_to(found)
    return tmp_path


def _make(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(folder / "bin" / "make"), *words],
        cwd=folder,
        env={"PATH": str(folder / "bin")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _add_interpreter(folder: Path, name: str, *, new_enough: bool) -> None:
    path = folder / "bin" / name
    path.write_text(f"#!/bin/sh\nexit {0 if new_enough else 1}\n")
    path.chmod(0o755)


def test_the_error_without_a_python_names_the_package_to_install(fresh_folder: Path) -> None:
    answer = _make(fresh_folder, "setup")
    assert answer.returncode != 0
    assert "needs Python 3.11 or newer" in answer.stderr
    assert "PYTHON=" in answer.stderr


def test_an_old_default_python_is_passed_over_for_a_newer_one(fresh_folder: Path) -> None:
    _add_interpreter(fresh_folder, "python3", new_enough=False)
    _add_interpreter(fresh_folder, "python3.12", new_enough=True)
    assert "python3.12 -m venv .venv" in _make(fresh_folder, "--dry-run", "setup").stdout


def test_a_named_python_that_is_too_old_is_refused(fresh_folder: Path) -> None:
    _add_interpreter(fresh_folder, "python3.9", new_enough=False)
    answer = _make(fresh_folder, "setup", "PYTHON=python3.9")
    assert answer.returncode != 0
    assert "python3.9 is older than Python 3.11" in answer.stderr


def test_the_error_without_git_says_to_install_it(fresh_folder: Path) -> None:
    (fresh_folder / "bin" / "git").unlink()
    answer = _make(fresh_folder, "setup")
    assert answer.returncode != 0
    assert "git is not installed" in answer.stderr


def test_torch_is_installed_by_its_pin_before_everything_else(fresh_folder: Path) -> None:
    _add_interpreter(fresh_folder, "python3", new_enough=True)
    installs = [line for line in _make(fresh_folder, "--dry-run", "smoke").stdout.splitlines() if "pip install" in line]
    assert len(installs) == 2
    assert "^torch==" in installs[0]
    assert installs[1].endswith("-e '.[dev,games,play]'")
    assert all("-c constraints.txt" in line for line in installs)


@pytest.mark.parametrize("changed", ["pyproject.toml", "constraints.txt"])
def test_a_second_setup_installs_nothing_until_the_dependencies_change(fresh_folder: Path, changed: str) -> None:
    stamp = fresh_folder / ".venv" / ".installed"
    stamp.parent.mkdir()
    stamp.touch()
    for name in ("pyproject.toml", "constraints.txt"):
        os.utime(fresh_folder / name, (1_000_000, 1_000_000))
    assert _make(fresh_folder, "--question", "setup").returncode == 0
    future = stamp.stat().st_mtime + 10
    os.utime(fresh_folder / changed, (future, future))
    assert _make(fresh_folder, "--question", "setup").returncode == 1


@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("smoke", "python -m pytest validation/ -m smoke -x --seed 3"),
        ("test", "python -m pytest tests -m 'not slow and not longrun' -n 2 --dist loadfile -x --seed 3"),
        ("longrun", "python -m pytest -m longrun -x --seed 3"),
    ],
)
def test_options_for_pytest_pass_through_args(fresh_folder: Path, target: str, command: str) -> None:
    assert command in _make(fresh_folder, "--dry-run", target, "ARGS=-x --seed 3").stdout


def test_a_long_run_on_several_machines_takes_its_place_from_make_variables(fresh_folder: Path) -> None:
    words = ("NPROC=8", "NNODES=4", "NODE_RANK=3", "RDZV_ENDPOINT=node-a:29500", "RDZV_ID=job-7")
    command = (
        "python -m pytest -m longrun --nproc-per-node 8 --nnodes 4 --node-rank 3 --rdzv-endpoint node-a:29500 "
        "--rdzv-id job-7 --seed 3"
    )
    assert command in _make(fresh_folder, "--dry-run", "longrun", *words, "ARGS=--seed 3").stdout
