"""A run as an entry of the table: which attempt, which numbers, and null for what is not known.

python -m pytest tests/unit/keep/test_entry.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.finished_runs import MEASURED, finish_run, finished_run, prepare_run, record_of
from tinyworlds_gate.keep.entry import NUMBERS, entry_of
from tinyworlds_gate.keep.files import draw_text, kept_attempt
from tinyworlds_gate.reports.model import Attempt

ISSUE = (
    *("strict_mse", "copy_last_mse", "skill", "skill_low", "delta_psnr_db", "action_codes_used", "action_nmi"),
    *("tokenizer_recon_mse", "reference_sharp_mse", "train_minutes", "gpus"),
)


@pytest.fixture
def entry(tmp_path: Path) -> dict[str, Any]:
    return entry_of(record_of(finished_run(tmp_path)))


def test_the_numbers_have_the_requested_names(entry: dict[str, Any]) -> None:
    assert NUMBERS == ISSUE
    assert [key for key in entry if key in ISSUE] == list(ISSUE)


def test_the_numbers_are_those_of_the_journal(entry: dict[str, Any]) -> None:
    assert (entry["strict_mse"], entry["copy_last_mse"], entry["skill_low"]) == (0.0187, 0.0142, -0.61)
    assert (entry["action_nmi"], entry["reference_sharp_mse"]) == (0.62, 0.0123)
    assert (entry["teacher_forced_mse"], entry["memory_hedged_mse"]) == (0.0126, 0.0081)
    assert len(entry["mse_by_step"]) == 4


def test_the_entry_says_what_the_numbers_depend_on(entry: dict[str, Any]) -> None:
    assert (entry["run"], entry["profile"], entry["seed"]) == ("longrun_sample", "longrun", 3)
    assert (entry["status"], entry["verdict"], entry["command"]) == ("passed", "PASS", "pytest validation/ -m smoke")
    assert (entry["commit"], entry["dirty"]) == ("52f9ab9c0ffee", False)
    assert entry["machine"]["hostname_hash"] == "a1b2c3"
    assert (entry["dataset_sha256"], entry["clip_digest"]) == ("d" * 64, "c0ffee12")
    assert set(entry["checkpoints"]) == {"video_tokenizer", "latent_actions", "dynamics"}
    assert entry["versions"]["torch"] == "2.13.0"


def test_what_a_verdict_is_bound_to_goes_before_the_start_of_the_run(tmp_path: Path) -> None:
    record = record_of(finished_run(tmp_path))
    bound = {"commit": "beef", "dirty": True, "versions": {"torch": "2.14"}, "evaluation_sha256": "f" * 64}
    assert record.attempts[-1].verdict is not None
    record.attempts[-1].verdict["binding"] = {**bound, "checkpoints": {"dynamics": "9" * 64}}
    entry = entry_of(record)
    assert {key: entry[key] for key in bound} == bound
    assert entry["checkpoints"] == {"dynamics": "9" * 64}


def test_a_number_that_was_not_measured_is_null(tmp_path: Path) -> None:
    entry = entry_of(record_of(finish_run(prepare_run(tmp_path).train().infer(1, 0.0187).evidence())))
    assert [entry[key] for key in ("strict_mse", "action_nmi", "reference_sharp_mse")] == [None, None, None]


def test_an_attempt_without_measures_has_an_entry_of_nulls(tmp_path: Path) -> None:
    record = record_of(finished_run(tmp_path))
    assert record.attempts[-1].verdict is not None
    record.attempts[-1].verdict["measures"] = None
    assert {entry_of(record)[key] for key in ISSUE[:-2]} == {None}


def test_minutes_count_every_chunk_the_failed_and_the_resumed_ones_too(tmp_path: Path) -> None:
    run = prepare_run(tmp_path)
    run.start_chunk("video_tokenizer")
    run.finish_chunk("video_tokenizer", cause="out_of_memory", wall_s=60.0)
    run.start_chunk("video_tokenizer")
    run.finish_chunk("video_tokenizer", cause="interrupted", wall_s=None, workers=[])
    run.add("run_started", **{**without_place(run.events[0]), "resumed": True})
    run.train().infer(1, 0.0187)
    entry = entry_of(record_of(finish_run(run.evidence())))
    assert entry["train_minutes"] == pytest.approx((60.0 + 3 * 42.25) / 60)
    assert (entry["chunks"], entry["chunks_of_unknown_time"], entry["resumed"]) == (5, 1, 1)


def without_place(event: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in event.items() if key not in ("seq", "time", "event")}


@pytest.mark.parametrize(
    ("devices", "gpus"),
    [(["cpu", "cpu"], 0), (["GPU-a", "GPU-b"], 2), (["GPU-a", "GPU-a"], 1), ([None], None), ([], None)],
)
def test_gpus_are_the_distinct_devices_that_workers_were_seen_on(
    tmp_path: Path, devices: list[str | None], gpus: int | None
) -> None:
    record = record_of(finished_run(tmp_path))
    for chunk in record.chunks:
        assert chunk.finished is not None
        chunk.finished["workers"] = [{"rank": rank, "device": device} for rank, device in enumerate(devices)]
    assert entry_of(record)["gpus"] == gpus


def test_a_run_that_trained_nothing_has_no_minutes_and_no_gpus(tmp_path: Path) -> None:
    entry = entry_of(record_of(finish_run(prepare_run(tmp_path).infer(1, 0.0187, **MEASURED).evidence(stages=()))))
    assert (entry["train_minutes"], entry["gpus"], entry["chunks"]) == (None, None, 0)


def judged(number: int, draw: int) -> Attempt:
    return Attempt(number, draw, verdict={"event": "gate_verdict", "verdict": "PASS"})


@pytest.mark.parametrize(
    ("attempts", "kept"),
    [
        ([(1, 1)], (1, 1)),
        ([(1, 1), (2, 1)], (2, 1)),
        ([(1, 1), (2, 1), (2, 2)], (2, 2)),
        ([(1, 1), (1, 3)], (1, 3)),
        ([(1, 1), (1, 3), (2, 1)], (2, 1)),
        ([], None),
    ],
)
def test_the_final_verdict_of_the_last_attempt_is_kept(
    tmp_path: Path, attempts: list[tuple[int, int]], kept: tuple[int, int] | None
) -> None:
    record = record_of(prepare_run(tmp_path))
    record.attempts = [*(judged(*one) for one in attempts), Attempt(9, 1)]
    found = kept_attempt(record)
    assert (None if found is None else (found.number, found.draw)) == kept


def test_the_entry_says_which_clips_it_was_measured_on(tmp_path: Path) -> None:
    run = prepare_run(tmp_path).train().infer(1, 0.0341, **MEASURED).retrain(0, 5e-4).infer(2, 0.0262, **MEASURED)
    run.infer(2, 0.0271, draw=2, clip_digest="b2" * 32, **{**MEASURED, "strict_mse": 0.0271})
    entry = entry_of(record_of(finish_run(run.evidence())))
    assert entry["measured_on"] == {
        "attempt": 2,
        "draw": 2,
        "what": "a second draw of held-out clips, which no attempt has seen",
    }
    assert (entry["strict_mse"], entry["clip_digest"]) == (0.0271, "b2" * 32)
    assert draw_text(judged(1, 3)) == "the evaluation set"
