"""The fault matrix is whole, its page is the one that is written from it, and its promises can be broken.

pytest tests/faults/test_matrix.py
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.faults.fault import Fault
from tests.faults.record import merge, read_record, verdict_of, write_record
from tests.faults.render import PAGE, RECORD, REPOSITORY, page
from tests.faults.scene import Ledger, left_running, scene_of
from tests.faults.table import FAULTS, SECTIONS
from tinyworlds_gate.reports.requirements import REQUIREMENTS


def marks(node: ast.AST, slow: bool = False) -> Iterator[tuple[ast.Call, bool]]:
    """Every ``pytest.mark.fault(…)`` in a module, and whether the function or the parameters beside it are slow too."""
    if isinstance(node, ast.FunctionDef):
        slow = any(ast.unparse(one) == "pytest.mark.slow" for one in node.decorator_list)
    elif isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.param":
        slow = slow or "pytest.mark.slow" in ast.unparse(node)
    elif isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.fault":
        yield node, slow
    for child in ast.iter_child_nodes(node):
        yield from marks(child, slow)


def marked_rows() -> dict[str, list[bool]]:
    """Row → for each test that names it, whether that one is slow."""
    found: dict[str, list[bool]] = {}
    for path in (REPOSITORY / "tests").rglob("test_*.py"):
        text = path.read_text(encoding="utf-8")
        for call, slow in marks(ast.parse(text)) if "mark.fault(" in text else ():
            for argument in call.args:
                assert isinstance(argument, ast.Constant), f"{path.name}: a row is named by a literal"
                found.setdefault(str(argument.value), []).append(slow)
    return found


def test_every_row_has_an_id_of_its_own_and_known_requirements() -> None:
    assert [id for id, count in Counter(row.id for row in FAULTS).items() if count > 1] == []
    unknown = {(row.id, id) for row in FAULTS for id in row.requirements if id not in REQUIREMENTS}
    assert unknown == set()
    assert sum(len(section.rows) for section in SECTIONS) == len(FAULTS)


def test_every_row_has_a_test_and_every_mark_names_a_row() -> None:
    named, rows = set(marked_rows()), {row.id for row in FAULTS}
    assert named - rows == set(), "marked, but no row of tests/faults/table.py"
    assert rows - named == set(), 'rows without a test: @pytest.mark.fault("…")'


def test_a_row_is_slow_exactly_when_all_of_its_tests_are() -> None:
    found = marked_rows()
    wrong = [row.id for row in FAULTS if row.slow != all(found.get(row.id, []))]
    assert wrong == []


def test_the_page_is_the_one_that_table_and_record_write() -> None:
    stale = "docs/faults.md is stale: run python -m tests.faults.render"
    assert PAGE.read_text(encoding="utf-8") == page(read_record(RECORD)), stale


def test_the_record_names_only_rows_of_the_table() -> None:
    assert set(read_record(RECORD)) - {row.id for row in FAULTS} == set()


def test_every_fault_has_an_entry_with_its_verdict_and_lines_of_at_most_120_characters() -> None:
    record = read_record(RECORD)
    entries = dict(part.partition("\n")[::2] for part in PAGE.read_text(encoding="utf-8").split("\n### ")[1:])
    assert list(entries) == [row.id for row in FAULTS]
    for id, entry in entries.items():
        assert f"- Verdict: **{verdict_of(record[id])[0]}**" in entry
    assert [line for line in PAGE.read_text(encoding="utf-8").splitlines() if len(line) > 120] == []


@pytest.mark.parametrize("broken", [{"id": "Kill Rank"}, {"loop": ""}, {"requirements": ()}])
def test_a_row_that_says_too_little_is_refused(broken: dict[str, Any]) -> None:
    whole: dict[str, Any] = {
        **{"id": "kill", "title": "t", "injected": "i", "loop": "l", "report": "r"},
        "requirements": ("S4",),
    }
    assert Fault(**whole).lost == "nothing"
    with pytest.raises(ValueError, match="fault "):
        Fault(**whole | broken)


# What every row is held to must be able to fail.


def test_a_process_that_stays_in_a_project_is_named_and_ended(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], cwd=tmp_path)
    try:
        (found,) = left_running(tmp_path.resolve(), within_s=0.5)
        assert found.startswith(f"PID {process.pid} ")
        assert process.wait(timeout=10) == -9
    finally:
        process.kill()
        process.wait()
    assert left_running(tmp_path.resolve()) == []


def test_a_process_elsewhere_that_a_harness_started_for_the_project_is_found(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"],
        cwd=tmp_path / "b",
        env={"TINYWORLDS_GATE_PROJECT": str(tmp_path / "a")},
    )
    try:
        assert len(left_running((tmp_path / "a").resolve(), within_s=0.5)) == 1
    finally:
        process.kill()
        process.wait()


def project_with_one_checkpoint(root: Path) -> Path:
    folder = root / "results" / "a" / "dynamics" / "checkpoints" / "dynamics_step_3"
    folder.mkdir(parents=True)
    (folder / "state.pt").write_bytes(b"weights")
    (root / "results" / "a" / "journal.jsonl").write_text('{"seq": 0}\n{"seq": 1}\n{"to')
    return folder


def test_the_ledger_is_kept_when_a_checkpoint_is_set_aside_and_the_journal_grows(tmp_path: Path) -> None:
    folder = project_with_one_checkpoint(tmp_path)
    ledger = Ledger(tmp_path)
    ledger.hold()
    folder.rename(folder.with_name(".superseded-dynamics_step_3-1"))
    (tmp_path / "results" / "a" / "journal.jsonl").write_text('{"seq": 0}\n{"seq": 1}\n{"seq": 2}\n')
    assert ledger.problems() == []


def test_the_ledger_reports_an_altered_checkpoint_and_a_rewritten_journal(tmp_path: Path) -> None:
    folder = project_with_one_checkpoint(tmp_path)
    ledger = Ledger(tmp_path)
    ledger.hold()
    (folder / "state.pt").write_bytes(b"other weights")
    (tmp_path / "results" / "a" / "journal.jsonl").write_text('{"seq": 0}\n')
    assert ledger.problems() == [
        "checkpoint dynamics_step_3 is gone or altered",
        "results/a/journal.jsonl no longer begins as it did",
    ]


def test_a_bystander_that_is_ended_fails_the_scene(tmp_path: Path) -> None:
    script = tmp_path / "train_dynamics.py"
    script.write_text("")
    with ExitStack() as stack:
        scene = stack.enter_context(scene_of(tmp_path, script))
        scene.bystander.terminate()
        scene.bystander.wait(timeout=10)
        with pytest.raises(AssertionError, match=r"bystander .* ended with -15"):
            stack.close()


# The record: what is measured, merged and judged.


def outcome(verdict: str, reason: str = "") -> dict[str, Any]:
    return {"outcome": verdict, "reason": reason, "seconds": 1.0, "machine": "2 CPU cores"}


def test_a_skip_never_replaces_a_measurement() -> None:
    old = {"two-gpus": {"a.py::x": outcome("PASS")}}
    new = {"two-gpus": {"a.py::x": outcome("NOT-RUN", "needs 2 GPUs")}}
    collected = {"two-gpus": {"a.py::x"}}
    assert merge(old, new, collected) == old
    assert merge({}, new, collected) == new
    assert merge(new, old, collected) == old


def test_a_test_that_its_file_no_longer_holds_leaves_the_record() -> None:
    old = {"kill": {"a.py::x": outcome("PASS"), "a.py::renamed": outcome("FAIL"), "b.py::y": outcome("PASS")}}
    merged = merge(old, {"kill": {"a.py::x": outcome("PASS")}}, {"kill": {"a.py::x"}})
    assert set(merged["kill"]) == {"a.py::x", "b.py::y"}


def test_one_failed_test_fails_its_row_and_only_skips_leave_it_not_run() -> None:
    skipped = outcome("NOT-RUN", "needs a GPU")
    assert verdict_of({"a": outcome("PASS"), "b::y": outcome("FAIL")}) == ("FAIL", "failed: y")
    assert verdict_of({"a": skipped, "b": skipped}) == ("NOT-RUN", "needs a GPU")
    assert verdict_of({"a": outcome("PASS"), "b": skipped}) == ("PASS", "1 of 2 tests not run: needs a GPU")


def test_a_session_records_its_rows_and_leaves_the_others_alone(tmp_path: Path) -> None:
    """A real session over this folder's conftest.py: one row passes, one leaves a process and fails."""
    write_record(tmp_path / "faults.json", {"other": {"c.py::z": outcome("PASS")}})
    suite = tmp_path / "tests"
    suite.mkdir()
    for name in ("pytest.ini", "conftest.py"):
        (tmp_path / name).write_text((REPOSITORY / name).read_text())
    (suite / "conftest.py").write_text("from tests.faults.conftest import *  # the hooks and fixtures under test\n")
    (suite / "test_rows.py").write_text(
        "import subprocess, pytest\n"
        '@pytest.mark.fault("good", no_scene="there is no project")\n'
        "def test_good(): pass\n"
        '@pytest.mark.fault("bad", no_scene="there is no project")\n'
        "def test_bad(tmp_path):\n"
        '    subprocess.Popen(["sleep", "600"], cwd=tmp_path)\n'
        '@pytest.mark.fault("unseen")\n'
        "def test_unseen(): pass\n"
    )

    def record(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pytest", *words, "-q", "--basetemp", "base", "--record-faults", "faults.json"],
            cwd=tmp_path,
            env={"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    answer = record("tests")
    assert "left running: PID" in answer.stdout, answer.stdout + answer.stderr
    assert "a row needs the fixture `scene`" in answer.stdout
    rows = read_record(tmp_path / "faults.json")
    verdicts = {id: verdict_of(tests)[0] for id, tests in rows.items()}
    assert verdicts == {"good": "PASS", "bad": "FAIL", "unseen": "FAIL", "other": "PASS"}
    assert record("tests/test_rows.py::test_good", "-n", "2").returncode == 0
    assert read_record(tmp_path / "faults.json").keys() == rows.keys(), "a named test leaves the others in the record"
