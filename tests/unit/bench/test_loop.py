"""`tinyworlds-gate bench loop`: what it counts as the harness' own time. Nothing here holds a timing."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.helpers.journal_samples import passing as sample_run
from tinyworlds_gate.bench.loop import Row, timed
from tinyworlds_gate.bench.loop_time import CpuTrace, child_lives, loop_time
from tinyworlds_gate.cli.main import main
from tinyworlds_gate.errors import GateError

Event = dict[str, Any]


def journal(*events: tuple[str, float, dict[str, Any]]) -> list[Event]:
    return [{"seq": number, "time": at, "event": name, **more} for number, (name, at, more) in enumerate(events)]


RUN = journal(
    ("run_started", 100.0, {}),
    ("dataset_ready", 131.0, {"generated": True, "seconds": 30.0}),
    ("chunk_started", 132.0, {}),
    ("chunk_finished", 184.0, {"wall_s": 50.0}),
    ("stage_gate", 184.5, {}),
    ("inference_started", 185.0, {}),
    ("inference_finished", 206.0, {"wall_s": 20.0}),
    ("run_finished", 210.0, {}),
)


def test_loop_time_is_what_lies_outside_the_lives_of_the_children_and_of_generating_frames() -> None:
    found = loop_time(RUN)
    assert (found.total_s, found.children_s, found.data_s) == (110.0, 70.0, 30.0)
    assert found.loop_s == 10.0
    assert child_lives(RUN) == [(132.0, 182.0), (185.0, 205.0)]


def test_the_longest_steps_of_the_loop_are_named_without_the_children() -> None:
    steps = loop_time(RUN).steps
    assert steps[0] == ("inference_finished → run_finished", 4.0)
    assert steps[1] == ("chunk_started → chunk_finished", 2.0)
    assert "dataset_ready" not in "".join(after for what, _ in steps for after in what.split(" → ")[1:])


def test_the_time_between_a_killed_harness_and_its_resumption_is_nobodys() -> None:
    resumed = journal(("run_started", 1000.0, {}), ("run_finished", 1004.0, {}))
    assert loop_time([*RUN, *resumed]).loop_s == 14.0


def test_a_chunk_whose_harness_died_has_no_life_that_is_known() -> None:
    cut = journal(("run_started", 0.0, {}), ("chunk_started", 1.0, {}), ("chunk_finished", 9.0, {"wall_s": None}))
    assert child_lives(cut) == []


def test_the_share_of_a_core_is_read_between_the_notes_inside_a_span() -> None:
    trace = CpuTrace([10.0, 12.0, 20.0], [1.0, 1.2, 1.2])
    assert trace.at(11.0) == pytest.approx(1.1)
    assert trace.percent([(10.0, 12.0), (12.0, 20.0), (19.0, 99.0), (0.0, 5.0)]) == pytest.approx([10.0, 0.0, 0.0])
    assert CpuTrace().percent([(0.0, 1.0)]) == []


def test_a_trace_notes_the_cpu_time_of_a_process_and_outlives_it() -> None:
    trace = CpuTrace()
    trace.take(psutil.Process(os.getpid()))
    gone = psutil.Popen([sys.executable, "-c", "pass"])
    gone.wait()
    trace.take(gone)
    assert len(trace.cpu_s) == 1
    assert trace.cpu_s[0] > 0


def test_a_row_holds_by_its_median_and_one_without_values_is_not_measured() -> None:
    assert Row("a", "s", [1.0, 9.0, 1.2], 1.5).holds is True
    assert Row("a", "s", [1.6], 1.5).holds is False
    nothing = Row("a", "s", [], 1.5)
    assert (nothing.holds, nothing.record()["median"]) == (None, None)


def test_a_command_that_fails_has_no_time(tmp_path: Path) -> None:
    with pytest.raises(
        GateError, match=r"`python -c raise SystemExit\(3\)` ended with status 3, so its time says nothing"
    ):
        timed([sys.executable, "-c", "raise SystemExit(3)"], tmp_path, dict(os.environ))


def test_a_folder_without_a_loop_and_a_run_without_a_journal_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["bench", "loop"]) == 2
    assert "has no folder validation/: start `bench loop` in the project's own folder" in capsys.readouterr().err
    (tmp_path / "validation").mkdir()
    assert main(["bench", "loop", "--run", "results/none"]) == 2
    assert "results/none" in capsys.readouterr().err


def test_one_table_and_one_line_of_json_are_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = sample_run(tmp_path)
    (tmp_path / "validation").mkdir()
    (tmp_path / "validation" / "test_one.py").write_text("def test_one():\n    pass\n")
    monkeypatch.chdir(tmp_path)
    assert main(["bench", "loop", "--run", str(run.folder), "--rounds", "1"]) == 0
    *table, line = capsys.readouterr().out.splitlines()
    record = json.loads(line)
    assert (record["bench"], record["run"]) == ("loop", run.run)
    assert [row["what"] for row in record["rows"]] == [
        "loop time of a smoke run",
        "harness while a child lives",
        "watch --plain beside it",
        "collect validation/",
        "render the reports again",
        "import tinyworlds_gate, no torch",
    ]
    assert [row["holds"] is None for row in record["rows"]] == [False, True, True, False, False, False]
    assert "what the harness costs" in "\n".join(table)
    assert any(re.match(r"│ import tinyworlds_gate, no torch +│ +s │ +0\.\d\d │", row) for row in table)
