"""The command that injects faults blindly: its plan, its injector, what it reads, and two real faults (slow).

pytest tests/attribution
"""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.attribution import __main__ as command
from tests.attribution.catalogue import ANY, CUDA_KINDS, KINDS, NONE, Kind
from tests.attribution.injector import Injector
from tests.attribution.plan import Planned, draw, kinds_for
from tests.attribution.project import UPDATES, address_of
from tests.attribution.reading import CAUSES, UNKNOWN, Named, read_report
from tests.attribution.table import NOT_KNOWN, RIGHT, WRONG, Outcome, confusion, page, record_of, write_record
from tests.helpers.process_projects import wait_for

SLEEP = next(kind for kind in KINDS if kind.name == "sleeps for ever")
ALL = (*KINDS, *CUDA_KINDS)


def kind(name: str) -> Kind:
    return next(one for one in ALL if one.name == name)


def test_a_plan_has_every_kind_and_follows_from_its_seed() -> None:
    kinds = kinds_for("cpu")
    plan = draw(40, 7, kinds)
    assert plan == draw(40, 7, kinds) != draw(40, 8, kinds)
    assert {fault.kind for fault in plan} == set(kinds)
    assert {fault.stage for fault in plan} == {"video_tokenizer", "latent_actions", "dynamics"}
    assert {fault.rank for fault in plan} == {0, 1}
    for fault in plan:
        first, last = fault.kind.moments
        assert first <= fault.moment <= last
        assert fault.stage in fault.kind.stages


def test_every_kind_has_a_cause_that_a_report_can_name() -> None:
    assert {kind.cause for kind in ALL} <= {name for name, _ in CAUSES}
    assert len({kind.name for kind in ALL}) == len(ALL) >= 25
    assert not {kind.name for kind in kinds_for("cuda")} & {kind.name for kind in KINDS if kind.device == "cpu"}


def test_the_harness_imports_nothing_of_the_plan() -> None:
    folder, open_, seen = Path(command.__file__).parent, ["harness"], set[str]()
    while open_:
        name = open_.pop()
        seen.add(name)
        found = re.findall(r"(?m)^\s*(?:from|import) tests\.attribution\.(\w+)", (folder / f"{name}.py").read_text())
        open_ += set(found) - seen
    assert seen == {"harness", "project"}


WORKER = """
import json, os, socket, sys
wire = socket.socket(socket.AF_UNIX)
wire.connect(sys.argv[1].replace("@", "\\0"))
lines = wire.makefile("rw")
for moment in range(int(sys.argv[3])):
    said = {"pid": os.getpid(), "parent": os.getppid(), "rank": int(sys.argv[2]), "moment": moment}
    print(json.dumps(said), file=lines, flush=True)
    print(moment, json.loads(lines.readline()), flush=True)
"""


def worker(root: Path, rank: int, updates: int) -> subprocess.Popen[str]:
    words = [address_of(root).replace("\0", "@"), str(rank), str(updates)]
    return subprocess.Popen([sys.executable, "-c", WORKER, *words], stdout=subprocess.PIPE, text=True)


def answers(root: Path, rank: int, updates: int) -> list[str]:
    with worker(root, rank, updates) as process:
        assert process.stdout is not None
        return [line.split(" ", 1)[1].strip() for line in process.stdout]


def test_only_the_planned_rank_gets_the_code_at_the_planned_update(tmp_path: Path) -> None:
    with Injector(tmp_path, Planned(0, SLEEP, "dynamics", rank=1, moment=2)) as injector:
        assert answers(tmp_path, 0, 4) == ["", "", "", ""]
        assert not injector.happened
        assert answers(tmp_path, 1, 4) == ["", "", SLEEP.code, ""]
        assert injector.happened


def test_a_fault_may_last_and_happen_to_every_rank(tmp_path: Path) -> None:
    slow = kind("8 s for each update")
    with Injector(tmp_path, Planned(0, slow, "dynamics", rank=1, moment=1)):
        assert answers(tmp_path, 0, 3) == answers(tmp_path, 1, 3) == ["", slow.code, slow.code]


def test_a_signal_comes_from_outside_while_the_worker_waits(tmp_path: Path) -> None:
    with Injector(tmp_path, Planned(0, kind("SIGSTOP"), "dynamics", rank=0, moment=1)):
        process = worker(tmp_path, 0, 3)
        try:
            wait_for(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED, "the signal")
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate()


def test_no_injector_answers_for_another_project(tmp_path: Path) -> None:
    with Injector(tmp_path / "a", None), socket.socket(socket.AF_UNIX) as wire, pytest.raises(ConnectionRefusedError):
        wire.connect(address_of(tmp_path / "b"))


def report(why: str, ended: str = "stopped with an error", stage: str = "dynamics") -> str:
    lines = ["## Evidence", "", f"### Chunk 1: {stage}", "", f"- It {ended} after 9 s. Reason for the chunk: planned."]
    return "\n".join([*lines, f"- Why: {why}", "- Devices: rank 0 on cpu (3 steps), rank 1 on cpu (3 steps).", ""])


@pytest.mark.parametrize(
    ("why", "cause", "rank"),
    [
        ("it exited with code 1 after 9 s: rank 1 was ended by SIGKILL (log: x)", "killed", 1),
        ("rank 0 was ended by SIGKILL by the kernel, for its memory", "out of memory", 0),
        ("rank 1 was ended by SIGSEGV", "crashed", 1),
        ("it was ended by SIGKILL after 9 s: the launcher got the signal, no worker did", "launcher killed", None),
        ("it made no step for 60 s after step 7; rank 1 (PID 77) is stopped (SIGSTOP)", "stopped", 1),
        ("it made no step for 60 s; rank 1 sleeps in load in a/b.py, and rank 0 waits", "sleeps", 1),
        (
            "it ran longer than its deadline of 9 s, and made no step for 8 s; rank 0 computes in f in x.py",
            "computes",
            0,
        ),
        ("it ran longer than its deadline of 110 s (log: x)", "too slow", None),
        ("the ranks wait for each other in different calls: rank 0 in recv, rank 1 in backward", "deadlock", None),
        ("rank 1 left with exit code 0 before its peers; rank 0 then raised RuntimeError: reset", "left early", 1),
        ("the history lacks 9 updates; the loss of update 15 is nan; it was on rank 1 alone", "NaN", 1),
        ("rank 0 raised KeyError: 'a'; rank 1 raised ValueError: 3; which was first is not known", "exception", None),
        ("it exited with code 1 after 9 s (log: x)", UNKNOWN, None),
        ("it made no step for 60 s after step 7", UNKNOWN, None),
    ],
)
def test_cause_stage_and_rank_are_read_from_the_report(why: str, cause: str, rank: int | None) -> None:
    assert read_report(report(why)) == Named(cause, "dynamics", rank)


def test_no_report_names_nothing() -> None:
    assert read_report("") == Named(UNKNOWN, None, None)


def outcome(name: str, named: Named, *, rank: int = 1, happened: bool = True) -> Outcome:
    return Outcome(Planned(0, kind(name), "dynamics", rank, 3), named, 1.0, happened)


@pytest.mark.parametrize(
    ("name", "named", "verdict"),
    [
        ("SIGKILL", Named("killed", "dynamics", 1), RIGHT),
        ("SIGKILL", Named("killed", "dynamics", 0), WRONG),
        ("SIGKILL", Named("killed", "dynamics", None), NOT_KNOWN),
        ("SIGKILL", Named("killed", "video_tokenizer", 1), WRONG),
        ("SIGKILL", Named("exception", "dynamics", 1), WRONG),
        ("SIGKILL", Named(UNKNOWN, "dynamics", 1), NOT_KNOWN),
        ("SIGKILL", Named(UNKNOWN, "dynamics", 0), WRONG),
        ("SIGKILL", Named(UNKNOWN, None, None), NOT_KNOWN),
        ("launcher killed", Named("launcher killed", "dynamics", None), RIGHT),
        ("launcher killed", Named("launcher killed", "dynamics", 1), WRONG),
        ("frames file missing", Named("missing file", "dynamics", 0), RIGHT),
        ("frames file missing", Named("missing file", "dynamics", None), RIGHT),
    ],
)
def test_only_what_is_named_wrongly_is_wrong(name: str, named: Named, verdict: str) -> None:
    assert outcome(name, named).verdict == verdict
    assert outcome(name, named, happened=False).verdict == NOT_KNOWN


def test_the_record_counts_and_the_page_shows_every_fault(tmp_path: Path) -> None:
    named = [Named("killed", "dynamics", 1), Named("exception", "dynamics", 1), Named(UNKNOWN, "dynamics", None)]
    record = record_of(
        [outcome("SIGKILL", one) for one in named], device="cpu", seed=3, machine="m", date="2026-01-02", seconds=9.6
    )
    assert [record[key] for key in ("faults", RIGHT, NOT_KNOWN, WRONG)] == [3, 1, 1, 1]
    assert confusion(record["rows"]) == {("killed", name): 1 for name in ("killed", "exception", UNKNOWN)}
    path = tmp_path / "record.json"
    write_record(record, path)
    write_record({**record, "device": "cuda"}, path)
    text = page(json.loads(path.read_text()))
    assert text.count("3 faults (seed 3): 1 right (33 %), 1 unknown, 1 wrong.") == 2
    assert "| killed | 1 | 1 | 1 |" in text
    assert text.count("| SIGKILL | dynamics | 1 | 3 |") == 6
    assert text.index("## CPU workers") < text.index("## GPUs")


def test_the_kept_page_is_that_of_the_kept_record() -> None:
    assert command.PAGE.read_text(encoding="utf-8") == page(json.loads(command.RECORD.read_text(encoding="utf-8")))


def test_the_kept_record_has_enough_right_and_none_wrong() -> None:
    for record in json.loads(command.RECORD.read_text(encoding="utf-8")).values():
        assert record[WRONG] == 0
        assert record[RIGHT] >= command.REQUIRED_SHARE * record["faults"]
        assert all(row["happened"] for row in record["rows"])


@pytest.mark.slow
@pytest.mark.requirement("A5", "H9", "T1", "T6")
def test_real_faults_are_named_by_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = tmp_path / "record.json"
    words = ["--count", "2", "--kind", "SIGKILL", "--kind", "exit code 3", "--record", str(record)]
    monkeypatch.setattr(sys, "argv", ["attribution", *words])
    assert command.main() == 0
    found = json.loads(record.read_text())["cpu"]
    assert [row["verdict"] for row in found["rows"]] == [RIGHT, RIGHT]
    assert {row["named"]["cause"] for row in found["rows"]} == {"killed", "exit code"}


def test_the_moments_lie_within_the_chunk() -> None:
    for one in ALL:
        first, last = one.moments
        assert -1 <= first <= last <= UPDATES
        assert one.blamed in (NONE, ANY) or not one.everyone
