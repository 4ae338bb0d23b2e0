"""The record of real checkouts: rows that are measured apart are merged, and every word of them comes from a journal.

pytest tests/checkouts
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import pytest
import yaml

from tests.checkouts import measure
from tests.checkouts.__main__ import PAGE, RECORD, main
from tests.checkouts.measure import SMALL, Wanted, injections
from tests.checkouts.page import WIDTH, page
from tests.checkouts.record import merged, read_record, write_record
from tests.checkouts.row import CHECKOUT, HARNESS, NOBODY, NOT_DERIVED, fault_of, run_of, without_paths
from tests.helpers.stand_in import make_stand_in, set_config
from tinyworlds_gate.errors import DataError
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.reference.data.frames_file import check_frames_file

READING = {"name": "takes_checkpoint_folders", "value": False, "place": "scripts/run_inference.py:30", "line": "own"}
DESCRIBED = {
    "event": "target_described",
    "kind": "tinyworlds",
    "told": "tinyworlds (models/muon.py)",
    "can": {"takes_checkpoint_folders": False},
    "readings": [READING],
}
ENDED = {"event": "run_finished", "status": "invalid", "sentence": "INVALID: nothing was measured", "exit_status": 1}
REFUSED = {"event": "target_inference_finished", "exit_code": 1}


def chunk(**changes: Any) -> dict[str, Any]:
    return {"event": "chunk_finished", "chunk": 1, "stage": "dynamics", "wall_s": 9.6, "failure": None, **changes}


def row(device: str, **changes: Any) -> dict[str, Any]:
    run = {
        **run_of([], {}),
        "command": ["pytest"],
        "exit_status": 1,
        "seconds": 7,
        "injected": ["small sizes"],
        "torch": None,
        **changes,
    }
    return {
        "a/b@0123456789": {"repository": "a/b", "commit": "0123456789", "kind": "tinyworlds", "runs": {device: run}}
    }


def test_runs_on_different_machines_are_merged_into_one_row(tmp_path: Path) -> None:
    here, there = tmp_path / "here.json", tmp_path / "there.json"
    write_record(here, row("2", seconds=1))
    write_record(there, merged(row("cpu", seconds=300), row("2", seconds=200)))
    assert main(["--record", str(here), "--merge", str(there)]) == 0
    (found,) = read_record(here).values()
    assert {name: run["seconds"] for name, run in found["runs"].items()} == {"cpu": 300, "2": 200}


def test_a_run_that_did_not_pass_is_kept_beside_the_one_that_injects_more(tmp_path: Path) -> None:
    failed, again = row("cpu", sentence="FAIL: it died."), row("cpu", sentence="FAIL: again.")
    passed = row("cpu", exit_status=0, injected=["small sizes", "draws: false"], verdict="PASS")
    rows = merged(merged(failed, again), passed)
    (found,) = rows["a/b@0123456789"]["runs"]["cpu"]["earlier"]
    assert (found["sentence"], found["injected"]) == ("FAIL: again.", ["small sizes"])
    assert merged(rows, passed)["a/b@0123456789"]["runs"]["cpu"]["earlier"] == [found]
    text = page(rows)
    assert "- Before, without: draws: false: FAIL: again. Whose fault: " in text
    assert "earlier" not in merged(rows, again)["a/b@0123456789"]["runs"]["cpu"]


def test_the_page_has_every_run_and_fits_its_width() -> None:
    long = "C2: " + "a reason that is long enough to be wrapped " * 6 + "| <angle>"
    rows = merged(
        row("cpu", verdict="PASS (loop only)"), row("2", failed=[{"id": "G5", "reason": long, "followed_by": ["H3"]}])
    )
    text = page(rows)
    assert (
        "| a/b 0123456 | tinyworlds | PASS (loop only), 7 s | not measured | no verdict, 7 s | not measured |" in text
    )
    assert "### On two GPUs" in text
    assert "G5 (H3 follow)" in text
    assert "\\| &lt;angle>" in text
    assert max(len(line) for line in text.splitlines() if not line.startswith("|")) <= WIDTH


def test_paths_of_this_machine_are_replaced_in_every_text() -> None:
    private = {"/here": "HOME", "/here/out": "WORK"}
    told = {"command": ["--output-root", "/here/out/x"], "failed": [{"reason": "/here/y is missing, /hereet"}]}
    assert without_paths(told, private) == {
        "command": ["--output-root", "WORK/x"],
        "failed": [{"reason": "HOME/y is missing, /hereet"}],
    }


@pytest.mark.parametrize(
    ("events", "whose", "said"),
    [
        ([DESCRIBED, {**ENDED, "status": "passed"}], NOBODY, "the run passed"),
        ([DESCRIBED, REFUSED, ENDED], CHECKOUT, "refuses the checkpoint folders .*run_inference.py:30"),
        (
            [
                chunk(
                    failure={
                        "cause": "runtime_error",
                        "reason": "r",
                        "raised": [{"type": "ValueError", "place": "datasets/x.py:9", "message": "m"}],
                    }
                ),
                ENDED,
            ],
            CHECKOUT,
            "dynamics raised ValueError in datasets/x.py:9: m",
        ),
        (
            [{"event": "config_checked", "checks": [{"id": "C2", "verdict": "FAIL", "reason": "num_blocks"}]}, ENDED],
            CHECKOUT,
            "num_blocks",
        ),
        (
            [
                {
                    "event": "gate_verdict",
                    "conditions": [{"id": "G5.trusted", "verdict": "INVALID", "reason": "QK-norm"}],
                },
                ENDED,
            ],
            HARNESS,
            "QK-norm",
        ),
        ([ENDED], NOT_DERIVED, ""),
    ],
)
def test_whose_fault_it_is_comes_from_the_journal(events: list[dict[str, Any]], whose: str, said: str) -> None:
    import re

    fault = fault_of(events)
    assert fault["whose"] == whose
    assert re.search(said, fault["sentence"])


def test_a_stage_without_a_counted_chunk_has_its_problem() -> None:
    begun = {"event": "chunk_started", "chunk": 1, "stage": "dynamics", "end_update": 40}
    failed = chunk(failure={"cause": "runtime_error", "reason": "it died", "raised": []})
    (stage,) = run_of([begun, failed], {})["stages"]
    assert (stage["counted"], stage["updates"], stage["problem"], stage["seconds"]) == (0, 40, "it died", 10)
    (stage,) = run_of([begun, chunk(updates_per_s=2.5, final_loss=0.1)], {})["stages"]
    assert (stage["counted"], stage["updates_per_s"], stage["problem"]) == (1, 2.5, None)


def test_what_a_checkout_lacks_is_injected_from_outside_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = make_stand_in(tmp_path / "checkout", "tinyworlds")
    set_config(checkout, "dynamics", num_blocks=8, learning_rate=0.01, video_tokenizer_path="results/x/tok_step_9")
    set_config(checkout, "training", preload_ratio=0.005)
    before = {path: path.read_bytes() for path in (checkout / "configs").iterdir()}
    found = injections(Wanted(checkout, "1", tmp_path / "work", tmp_path / "python"))
    assert {path: path.read_bytes() for path in (checkout / "configs").iterdir()} == before
    assert "--align-backbone" in found.words
    assert found.words[found.words.index("--dynamics-config") + 1] == str(tmp_path / "work/dynamics.yaml")
    copy = yaml.safe_load((tmp_path / "work/dynamics.yaml").read_text())
    assert (copy["video_tokenizer_path"], copy["num_blocks"]) == (None, 8)
    told = " ".join(found.said)
    assert "preload_ratio 1 instead of 0.005" in told
    assert "(video_tokenizer_path; C3)" in told
    assert "5e-4 instead of 0.01" in told
    described = yaml.safe_load((tmp_path / "work/target.yaml").read_text())
    assert described == {"kind": "tinyworlds", "overrides": {"training": {"preload_ratio": 1.0}}}
    monkeypatch.setitem(SMALL, "frame_size", 16)
    on_cpu = injections(Wanted(checkout, "cpu", tmp_path / "cpu", tmp_path / "python"))
    assert "--align-backbone" not in on_cpu.words, "one set of sizes for every stage is injected already"
    described = yaml.safe_load((tmp_path / "cpu/target.yaml").read_text())
    assert described["overrides"]["training"] == {"preload_ratio": 1.0, "device": "cpu", **SMALL}


def test_the_published_page_is_that_of_the_published_record() -> None:
    rows = read_record(RECORD)
    assert PAGE.read_text(encoding="utf-8") == page(rows)
    text = json.dumps(rows)
    for part in ("/tmp/", "/root/", "/home/", "/work/"):
        assert part not in text
    for one in rows.values():
        for run in one["runs"].values():
            assert {stage["stage"] for stage in run["stages"]} <= set(STAGES)


def test_what_follows_from_a_failure_is_listed_with_it() -> None:
    found: list[dict[str, Any]] = [
        {"event": "requirement", "id": "G1", "verdict": "FAIL", "reason": "exit code 1", "follows_from": None},
        {"event": "requirement", "id": "G5", "verdict": "FAIL", "reason": "no error line", "follows_from": "G1"},
        {"event": "requirement", "id": "L4", "verdict": "NOT-RUN", "reason": "nothing to audit", "follows_from": None},
    ]
    assert run_of(found, {})["failed"] == [{"id": "G1", "reason": "exit code 1", "followed_by": ["G5"]}]


def test_frames_of_another_size_are_made_again_and_those_of_a_person_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "FRAMES", 8 * measure.EPISODE)
    checkout = make_stand_in(tmp_path / "checkout", "tinyworlds")
    frames = checkout / "data/bars_frames.h5"
    wanted = Wanted(checkout, "cpu", tmp_path / "work", tmp_path / "python")
    with pytest.raises(DataError, match=r"bars_frames\.h5 exists already"):
        injections(wanted)
    for file in (frames, frames.with_name("bars_held_out_frames.h5")):
        with h5py.File(file, "a") as made:
            made.attrs["game"] = "crafter"
    injections(wanted)
    assert check_frames_file(frames).height == SMALL["frame_size"]
    before = frames.stat().st_mtime_ns
    injections(wanted)
    assert frames.stat().st_mtime_ns == before
