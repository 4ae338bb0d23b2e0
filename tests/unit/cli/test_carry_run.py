"""`tinyworlds-gate runs --pack` and `--unpack`: a run goes to another project whole, and nothing is overwritten.

python -m pytest tests/unit/cli/test_carry_run.py
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from hashlib import sha256
from pathlib import Path

import pytest

from tests.helpers.finished_runs import PAGE, finished_run
from tests.helpers.journal_samples import SampleRun
from tinyworlds_gate.cli.main import main
from tinyworlds_gate.keep.packed_run import CONTENTS
from tinyworlds_gate.run.journal import Journal
from tinyworlds_gate.run.lock import ProjectLock

RUN = "longrun_sample"


def call(project: Path, *words: str | Path) -> tuple[int, str, str]:
    """Run `tinyworlds-gate runs` in a project; return exit code, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(["runs", "--project-root", str(project), *map(str, words)])
    return code, out.getvalue(), err.getvalue()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleRun:
    run = finished_run(tmp_path_factory.mktemp("packed") / "project")
    (run.folder / "dynamics" / "checkpoints").mkdir(parents=True, exist_ok=True)
    (run.folder / "dynamics" / "checkpoints" / "weights.pt").write_bytes(bytes(range(256)) * 100)
    (run.folder / ".journal.jsonl.77.part").write_text("left by a killed writer")
    (run.root / "Logs" / "dynamics_history_another_run.csv").write_text("not of this run")
    return run


@pytest.fixture(scope="module")
def packed(sample: SampleRun) -> Path:
    file = sample.root.parent / "run.zip"
    code, said, problem = call(sample.root, "--pack", f"results/{RUN}", file)
    assert (code, problem) == (0, "")
    assert f"of {RUN}" in said
    return file


def test_every_file_of_the_run_arrives_and_no_other(sample: SampleRun, packed: Path, tmp_path: Path) -> None:
    code, said, problem = call(tmp_path, "--unpack", packed)
    assert (code, problem) == (0, "")
    assert said.startswith(f"results/{RUN}: ")
    there, here = contents(tmp_path), contents(sample.root)
    assert {name: here[name] for name in there} == there
    left = {name for name in set(here) - set(there) if not name.startswith("data/")}
    assert left == {f"results/{RUN}/.journal.jsonl.77.part", "Logs/dynamics_history_another_run.csv"}
    assert PAGE in there
    assert f"results/{RUN}/dynamics/checkpoints/weights.pt" in there


def test_neither_a_run_nor_a_file_is_overwritten(sample: SampleRun, packed: Path, tmp_path: Path) -> None:
    before = packed.read_bytes()
    code, _, problem = call(sample.root, "--pack", f"results/{RUN}", packed)
    assert code == 2
    assert "exists and is not overwritten" in problem
    assert packed.read_bytes() == before
    code, _, problem = call(sample.root, "--unpack", packed)
    assert code == 2
    assert f"results/{RUN} exists: a run is never overwritten" in problem
    page = tmp_path / PAGE
    page.parent.mkdir(parents=True)
    page.write_text("mine")
    code, _, problem = call(tmp_path, "--unpack", packed)
    assert code == 2
    assert f"{PAGE} exists with another content" in problem
    assert contents(tmp_path) == {PAGE: b"mine"}


def test_a_killed_unpacking_is_completed_by_the_same_command(sample: SampleRun, packed: Path, tmp_path: Path) -> None:
    page = tmp_path / PAGE
    page.parent.mkdir(parents=True)
    page.write_bytes((sample.root / PAGE).read_bytes())
    assert call(tmp_path, "--unpack", packed)[0] == 0
    assert (tmp_path / "results" / RUN / "journal.jsonl").is_file()


def test_a_run_in_progress_is_not_packed(sample: SampleRun, tmp_path: Path) -> None:
    with ProjectLock(sample.root, run=RUN):
        code, _, problem = call(sample.root, "--pack", f"results/{RUN}", tmp_path / "a.zip")
    assert code == 2
    assert "is still going on" in problem
    assert not (tmp_path / "a.zip").exists()


def test_a_link_in_the_run_s_folder_is_refused(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "project")
    (tmp_path / "secret").write_text("of somebody else")
    (run.folder / "notes.txt").symlink_to(tmp_path / "secret")
    code, _, problem = call(run.root, "--pack", f"results/{RUN}", tmp_path / "a.zip")
    assert code == 2
    assert "symbolic link" in problem
    assert not (tmp_path / "a.zip").exists()


def rewritten(packed: Path, to: Path, change: Callable[[dict[str, bytes]], dict[str, bytes]], *, hashes: bool) -> Path:
    """Write a changed copy of an archive; with ``hashes``, its list agrees with the changed entries."""
    with zipfile.ZipFile(packed) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    about = json.loads(entries.pop(CONTENTS))
    entries = change(entries)
    if hashes:
        about["files"] = {name: [len(data), sha256(data).hexdigest()] for name, data in entries.items()}
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(CONTENTS, json.dumps(about))
        for name, data in entries.items():
            archive.writestr(name, data)
    return to


@pytest.mark.parametrize(
    "name",
    [
        "../outside.txt",
        "/absolute.txt",
        "results/another_run/journal.jsonl",
        f"results/{RUN}/../other/file",
        "conftest.py",
        "docs/action/../../conftest.py",
        "docs/index.md",
        "Logs",
        f"results/{RUN}//double",
        "results\\other\\file",
    ],
)
def test_an_archive_that_names_another_place_is_refused(packed: Path, tmp_path: Path, name: str) -> None:
    project = tmp_path / "project"
    project.mkdir()
    file = rewritten(packed, tmp_path / "a.zip", lambda entries: {**entries, name: b"x"}, hashes=True)
    code, _, problem = call(project, "--unpack", file)
    assert code == 2
    assert "nothing was written" in problem
    assert contents(tmp_path) == {"a.zip": file.read_bytes()}


def changed_byte(entries: dict[str, bytes]) -> dict[str, bytes]:
    name = f"results/{RUN}/dynamics/checkpoints/weights.pt"
    return {**entries, name: b"\xff" + entries[name][1:]}


def missing(entries: dict[str, bytes]) -> dict[str, bytes]:
    return dict(list(entries.items())[:-1])


def added(entries: dict[str, bytes]) -> dict[str, bytes]:
    return {**entries, f"results/{RUN}/more.txt": b"x"}


@pytest.mark.parametrize("change", [changed_byte, missing, added])
def test_an_archive_that_differs_from_its_list_is_refused(
    packed: Path, tmp_path: Path, change: Callable[[dict[str, bytes]], dict[str, bytes]]
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    code, _, problem = call(project, "--unpack", rewritten(packed, tmp_path / "a.zip", change, hashes=False))
    assert code == 2
    assert "nothing was written" in problem
    assert contents(project) == {}


JOURNAL = f"results/{RUN}/journal.jsonl"


def no_journal(entries: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in entries.items() if name != JOURNAL}


def changed_journal(entries: dict[str, bytes]) -> dict[str, bytes]:
    return {**entries, JOURNAL: entries[JOURNAL].replace(b"run_started", b"run_begun", 1)}


def no_start(entries: dict[str, bytes]) -> dict[str, bytes]:
    return {**entries, JOURNAL: b""}


def only_one_file(entries: dict[str, bytes]) -> dict[str, bytes]:
    return {PAGE: entries[PAGE]}


@pytest.mark.parametrize("change", [no_journal, changed_journal, no_start, only_one_file])
def test_an_archive_without_an_intact_journal_leaves_nothing(
    packed: Path, tmp_path: Path, change: Callable[[dict[str, bytes]], dict[str, bytes]]
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    code, _, problem = call(project, "--unpack", rewritten(packed, tmp_path / "a.zip", change, hashes=True))
    assert code == 2
    assert "journal" in problem
    assert not (project / "results" / RUN).exists()
    assert not (project / PAGE).exists()


def test_words_of_a_journal_are_neither_commands_nor_orders_to_the_terminal(tmp_path: Path) -> None:
    folder = tmp_path / "results" / "hostile"
    folder.mkdir(parents=True)
    with Journal(folder / "journal.jsonl") as journal:
        journal.append("run_started", kind="smoke; touch X #\x1b[31m", timestamp="2026_12_01_00_00_00")
        journal.append("dataset_ready", path="a\x1b]0;x\x07", sha256="\x1b[1m")
    assert call(tmp_path, "--pack", "results/hostile", tmp_path / "a.zip")[0] == 0
    other = tmp_path / "other"
    other.mkdir()
    for words in (["--unpack", str(tmp_path / "a.zip")], []):
        code, said, _ = call(other, *words)
        assert code == 0
        assert "\x1b" not in said
        assert "touch" not in said.partition("o on: ")[2]


def torn(data: bytes) -> bytes:
    return data[: len(data) // 2]


def turned(data: bytes) -> bytes:
    place = len(data) // 2
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


@pytest.mark.parametrize("damage", [torn, turned, lambda _: b"", lambda _: b"PK\x03\x04 no archive"])
def test_a_damaged_file_is_one_sentence(packed: Path, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    project = tmp_path / "project"
    project.mkdir()
    file = tmp_path / "a.zip"
    file.write_bytes(damage(packed.read_bytes()))
    code, _, problem = call(project, "--unpack", file)
    assert code == 2
    assert "Traceback" not in problem
    assert contents(project) == {}


@pytest.mark.parametrize(
    "about",
    ["[]", "{}", '{"format": 2}', '{"format": 1, "run": "../x", "files": {}}', '{"format": 1, "run": 3, "files": 4}'],
)
def test_a_list_of_another_kind_is_refused(tmp_path: Path, about: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(CONTENTS, about)
    code, _, problem = call(tmp_path, "--unpack", tmp_path / "a.zip")
    assert code == 2
    assert "is not understood" in problem


def test_other_options_beside_them_are_refused(packed: Path, tmp_path: Path) -> None:
    code, _, problem = call(tmp_path, "--unpack", packed, "--json")
    assert code == 2
    assert "go without other options" in problem
    assert contents(tmp_path) == {}


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    code, _, problem = call(tmp_path, "--unpack", tmp_path / "none.zip")
    assert code == 2
    assert "does not exist" in problem
