"""A failed verdict on the same weights is not replaced by a pass on luckier clips.

pytest tests/unit/gate/test_earlier_verdicts.py
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.helpers.gate_evidence import measures
from tinyworlds_gate.checkpoints.integrity import sha256_of
from tinyworlds_gate.config.thresholds import GateThresholds
from tinyworlds_gate.gate.earlier_verdicts import Present, earlier_event, earlier_verdicts, with_earlier_now
from tinyworlds_gate.gate.near_weights import sketch_of
from tinyworlds_gate.gate.provenance import recorded_conditions
from tinyworlds_gate.names import ATTEMPTS, FINAL
from tinyworlds_gate.run.hash_chain import LONGEST_LINE
from tinyworlds_gate.run.journal import Journal

WEIGHTS = {"video_tokenizer": "1" * 64, "latent_actions": "2" * 64, "dynamics": "3" * 64}
CONFIG: dict[str, Any] = {"inference.dataset": "CRAFTER", "inference.generation_steps": 12, "inference.clip_seed": 0}
LIMITS = GateThresholds(max_mse=0.03, min_episodes=None, require_upper_below_mean_frame=False)
BAD, GOOD = 0.05, 0.01
LONG = {"training.context_length": 4, "training.frame_size": 16, "training.patch_size": 8}


def earlier_run(root: Path, name: str, mse: float = BAD, draw: int = FINAL, clips: str = "final", **more: Any) -> None:
    """A run of the project with one verdict."""
    verdict = str(more.pop("verdict", "FAIL" if mse > LIMITS.max_mse else "PASS"))
    conditions, sketch, probe = more.pop("conditions", []), more.pop("sketch", None), more.pop("probe", "")
    binding = {"checkpoints": WEIGHTS, "clip_digest": clips, "config": CONFIG} | more
    with Journal(root / name / "journal.jsonl") as journal:
        journal.append("run_started", kind="smoke")
        if sketch is not None:
            journal.append("earlier_verdicts", attempt=2, draw=draw, failures=[], dynamics_sketch=sketch)
        if probe:
            journal.append("probe_finished", attempt=2, draw=draw, exit_code=1, frames=None, problem=probe)
        journal.append(
            "gate_verdict",
            attempt=2,
            conditions=conditions,
            draw=draw,
            verdict=verdict,
            sentence=f"{verdict}: the rollout error {mse}.",
            measures=measures(mse=mse).as_dict(),
            binding=binding,
        )


def failures(root: Path, config: Mapping[str, Any] | None = None, **more: Any) -> list[dict[str, Any]]:
    """Return the entries that the attempt of a run would journal."""
    binding = {"config": CONFIG | dict(config or {}), "clip_digest": "attempts"}
    fields: dict[str, Any] = {"run": "now", "weights": WEIGHTS, "binding": binding, "thresholds": LIMITS}
    return earlier_verdicts(Present(root, **fields | more)).failures


@pytest.mark.requirement("H3", "G5")
@pytest.mark.parametrize("draw", [ATTEMPTS, FINAL])
def test_a_failure_on_other_clips_is_found_and_fails_the_run(tmp_path: Path, draw: int) -> None:
    earlier_run(tmp_path, "old", draw=draw)
    (found,) = failures(tmp_path)
    assert (found["run"], found["sentence"]) == ("results/old", "FAIL: the rollout error 0.05.")
    assert failures(tmp_path, {"inference.clip_seed": 7}) == [found]
    event = {"event": "earlier_verdicts", "attempt": 1, "draw": 1, "failures": [found]}
    (condition,) = recorded_conditions([event], 1, 1)
    assert (condition.id, condition.verdict) == ("G5.earlier", "FAIL")
    assert "the same weights failed in results/old" in condition.reason
    assert "FAIL: the rollout error 0.05." in condition.reason


@pytest.mark.requirement("H3", "G5")
@pytest.mark.parametrize(
    ("more", "now"),
    [
        ({"checkpoints": {**WEIGHTS, "dynamics": "4" * 64}}, {}),
        ({}, {"inference.generation_steps": 1}),
        ({}, {"inference.dataset": "ZELDA"}),
        ({"clip_digest": "attempts"}, {}),
        ({"clip_digest": None}, {}),
    ],
    ids=["other weights", "other rollout", "other game", "the same clips", "nothing was measured"],
)
def test_what_is_no_earlier_failure(tmp_path: Path, more: dict[str, Any], now: dict[str, Any]) -> None:
    earlier_run(tmp_path, "old", **more)
    assert failures(tmp_path, now) == []


KNOBS: list[dict[str, Any]] = [
    {"inference.decode_steps": 3},
    {"inference.temperature": 0.5},
    {"inference.rollout": "pixels"},
    {"inference.token_choice": "nearest_mean"},
]


@pytest.mark.requirement("H3", "G5")
@pytest.mark.parametrize("knobs", KNOBS, ids=str)
@pytest.mark.parametrize("clips", ["attempts", "final"])
def test_a_turned_knob_does_not_launder_a_failure_on_the_same_choice_of_clips(
    tmp_path: Path, knobs: dict[str, Any], clips: str
) -> None:
    earlier_run(tmp_path, "old", clips=clips, config=CONFIG | LONG)
    earlier_run(tmp_path, "other", checkpoints={**WEIGHTS, "dynamics": "4" * 64})
    (found,) = failures(tmp_path, LONG | knobs)
    ((key, value),) = knobs.items()
    assert found["turned"][0].startswith(f"{key.removeprefix('inference.')} ")
    assert found["turned"][0].endswith(f", now {value}")
    (condition,) = recorded_conditions(
        [{"event": "earlier_verdicts", "attempt": 1, "draw": 1, "failures": [found]}], 1, 1
    )
    assert condition.verdict == "FAIL"
    assert found["turned"][0] in condition.reason
    assert "try 2" in condition.reason
    earlier_run(tmp_path, "good", mse=GOOD, config=CONFIG | LONG)
    assert len(failures(tmp_path, LONG | knobs)) == 1, "a pass of the old settings says nothing of the new ones"


@pytest.mark.requirement("H3", "G5")
@pytest.mark.parametrize(("tried", "expected"), [(1, "PASS"), (2, "PASS"), (3, "FAIL")])
def test_new_settings_may_pass_on_other_clips_after_few_failures_which_are_named(
    tmp_path: Path, tried: int, expected: str
) -> None:
    for steps in range(1, 1 + tried):
        settings = LONG | {"inference.decode_steps": steps, "inference.clip_seed": steps}
        earlier_run(tmp_path, f"old{steps}", clips=f"clips {steps}", config=CONFIG | settings)
    found = failures(tmp_path, LONG | {"inference.decode_steps": 4, "inference.clip_seed": 9})
    (condition,) = recorded_conditions(
        [{"event": "earlier_verdicts", "attempt": 1, "draw": 1, "failures": found}], 1, 1
    )
    assert condition.verdict == expected
    assert f"decode_steps {tried}, now 4" in condition.reason
    assert f"try {tried + 1}" in condition.reason


@pytest.mark.requirement("H3")
def test_numbers_within_the_present_limits_are_no_failure_and_an_own_run_does_not_count(tmp_path: Path) -> None:
    earlier_run(tmp_path, "passed", mse=GOOD)
    earlier_run(tmp_path, "now")
    assert failures(tmp_path) == []
    within, above = (LIMITS.model_copy(update={"max_mse": limit}) for limit in (0.051, 0.049))
    assert failures(tmp_path, run="x", thresholds=within) == []
    assert len(failures(tmp_path, run="x", thresholds=above)) == 1


@pytest.mark.requirement("H3")
def test_a_pass_on_the_same_clips_replaces_a_failure(tmp_path: Path) -> None:
    earlier_run(tmp_path, "old")
    earlier_run(tmp_path, "passed_elsewhere", mse=GOOD, clips="others")
    assert len(failures(tmp_path)) == 1
    earlier_run(tmp_path, "mended", mse=GOOD, clips="final")
    assert failures(tmp_path) == []


@pytest.mark.requirement("H3")
def test_a_pass_by_wider_limits_replaces_no_failure_and_is_one_on_other_clips(tmp_path: Path) -> None:
    earlier_run(tmp_path, "shopped", mse=BAD, clips="others", verdict="PASS")
    (found,) = failures(tmp_path)
    assert found["run"] == "results/shopped"
    assert found["sentence"].startswith("its limits were wider then; by the present ones its numbers fail. PASS: ")
    earlier_run(tmp_path, "strict")
    earlier_run(tmp_path, "wide", mse=BAD, verdict="PASS")
    assert {one["clip_digest"] for one in failures(tmp_path)} == {"others", "final"}
    wide = LIMITS.model_copy(update={"max_mse": 0.051})
    assert failures(tmp_path, thresholds=wide) == []


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _changed(was: bytes, now: bytes) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        content = path.read_bytes()
        assert was in content
        path.write_bytes(content.replace(was, now))

    return change


def _too_long(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x" * (LONGEST_LINE + 1))


def _no_text(path: Path) -> None:
    path.write_bytes(b"\xff" + b'"gate_verdict"' + b"\n\n{}\n")


UNREADABLE: dict[str, Callable[[Path], None]] = {
    "a line that is too long": _too_long,
    "no text": _no_text,
    "a folder": _folder,
    "no settings": _changed(b'"config"', b'"konfig"'),
    "no time": _changed(b'"time"', b'"thyme"'),
    "settings that are no table": _changed(b'"config": {', b'"config": 3, "other": {'),
    "a seed that is no number": _changed(b'"inference.clip_seed": 0', b'"inference.clip_seed": "a"'),
    "a verdict without a word": _changed(b'"verdict"', b'"verdikt"'),
}


@pytest.mark.requirement("H3")
@pytest.mark.parametrize("damage", UNREADABLE)
def test_a_journal_that_cannot_be_read_or_was_changed_is_named(tmp_path: Path, damage: str) -> None:
    earlier_run(tmp_path, "fine", mse=GOOD)
    earlier_run(tmp_path, "old")
    UNREADABLE[damage](tmp_path / "old" / "journal.jsonl")
    binding = {"config": CONFIG | {"inference.clip_seed": 3, "inference.decode_steps": 2}, "clip_digest": "attempts"}
    for config in (CONFIG, binding["config"]):
        present = Present(tmp_path, "now", WEIGHTS, {**binding, "config": config}, LIMITS)
        found = earlier_verdicts(present)
        assert found.unread == ["old"]
    assert found.failures == []
    event = {"event": "earlier_verdicts", "attempt": 1, "draw": 1, **earlier_event(found, present)}
    for kind, expected in (("smoke", "PASS"), ("longrun", "INVALID")):
        (condition,) = recorded_conditions([{"event": "run_started", "kind": kind}, event], 1, 1)
        assert condition.verdict == expected
        assert "the journal of results/old cannot be read or was changed" in condition.reason


@pytest.mark.requirement("H3")
def test_a_changed_journal_of_the_own_run_is_not_named_here(tmp_path: Path) -> None:
    earlier_run(tmp_path, "now")
    _changed(b'"smoke"', b'"smoky"')(tmp_path / "now" / "journal.jsonl")
    present = Present(tmp_path, "now", WEIGHTS, {"config": CONFIG, "clip_digest": "attempts"}, LIMITS)
    assert earlier_verdicts(present).unread == []


@pytest.mark.requirement("H3")
def test_weights_without_an_earlier_failure_hold_the_condition() -> None:
    (condition,) = recorded_conditions([{"event": "earlier_verdicts", "attempt": 1, "draw": 2, "failures": []}], 1, 2)
    assert (condition.id, condition.verdict) == ("G5.earlier", "PASS")
    assert recorded_conditions([], 1, 1) == ()


SPELLINGS: list[dict[str, Any]] = [
    {"inference.memory_window": 3},
    {"inference.memory_window": 99},
    {"inference.context_window": 3},
    {"inference.context_window": 3, "inference.memory_window": None},
    {"inference.temperature": 0},
    {"inference.temperature": 1e-6},
    {"inference.token_choice": "likeliest", "inference.teacher_forced": False},
    {"inference.fps": 30},
    {"inference.dataset": "crafter"},
    {"inference.decode_steps": 64},
]


@pytest.mark.requirement("H3", "G5")
@pytest.mark.parametrize("spelling", SPELLINGS, ids=str)
def test_settings_of_the_same_meaning_are_the_same(tmp_path: Path, spelling: dict[str, Any]) -> None:
    steps = {"inference.generation_steps": 1} if spelling == {"inference.memory_window": 99} else {}
    earlier_run(tmp_path, "old", config=CONFIG | LONG | steps)
    assert len(failures(tmp_path, LONG | steps | spelling)) == 1
    earlier_run(tmp_path / "reverse", "old", config=CONFIG | LONG | steps | spelling)
    assert len(failures(tmp_path / "reverse", LONG | steps)) == 1


@pytest.mark.requirement("H3", "G5")
def test_the_same_frames_file_is_the_same_game_under_any_name(tmp_path: Path) -> None:
    earlier_run(tmp_path, "old", dataset_sha256="5" * 64)
    binding = {"config": CONFIG | {"inference.dataset": "MINE", "inference.fps": 60}, "clip_digest": "attempts"}
    assert failures(tmp_path, binding=binding | {"dataset_sha256": "6" * 64}) == []
    assert len(failures(tmp_path, binding=binding | {"dataset_sha256": "5" * 64})) == 1


def weights_file(folder: Path, change: Callable[[np.ndarray], np.ndarray] = lambda one: one) -> tuple[Path, str]:
    """Write four tensors as a checkpoint's weights; return its folder and their SHA-256."""
    import torch

    folder.mkdir(parents=True)
    drawn = [np.random.default_rng(number).normal(size=(8, 8)) for number in range(4)]
    state = {f"layer.{n}": torch.from_numpy(change(one).astype(np.float32)) for n, one in enumerate(drawn)}
    torch.save(state, folder / "model_state_dict.pt")
    return folder, sha256_of(folder / "model_state_dict.pt")


def noise(size: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda one: one + size * np.random.default_rng(9).normal(size=one.shape)


TOUCHES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], int]] = {
    "noise of 1e-6": (noise(1e-6), 1),
    "noise of 1e-4": (noise(1e-4), 1),
    "scaled": (lambda one: one * (1 + 1e-5), 1),
    "one weight": (lambda one: np.where(np.arange(64).reshape(8, 8) == 3, one + 1e-3, one), 1),
    "rows in another order": (lambda one: one[::-1], 1),
    "rows and columns in another order": (lambda one: one[[3, 1, 0, 2, 7, 6, 5, 4]][:, ::-1], 1),
    "signs changed": (lambda one: one * np.array([1, -1] * 4), 1),
    "rotated": (lambda one: one @ np.linalg.qr(np.random.default_rng(5).normal(size=(8, 8)))[0], 1),
    "in another order, and noise of 1e-6": (lambda one: noise(1e-6)(one[::-1]), 1),
    "in another order, and trained a little": (lambda one: noise(5e-3)(one[::-1]), 0),
    "trained a little": (noise(5e-3), 0),
    "trained": (noise(0.1), 0),
}


@pytest.mark.requirement("H3", "G5")
@pytest.mark.parametrize("touch", TOUCHES)
def test_touched_weights_are_the_same_weights(tmp_path: Path, touch: str) -> None:
    folder, sha256 = weights_file(tmp_path / "dynamics")
    earlier_run(tmp_path / "results", "old", checkpoints={**WEIGHTS, "dynamics": sha256}, sketch=sketch_of(folder))
    change, counts = TOUCHES[touch]
    now, sha256 = weights_file(tmp_path / "now", change)
    found = failures(tmp_path / "results", weights={**WEIGHTS, "dynamics": sha256}, dynamics=now)
    assert len(found) == counts
    event = {"event": "earlier_verdicts", "attempt": 1, "draw": 1, "failures": found}
    assert recorded_conditions([event], 1, 1)[0].verdict == ("FAIL" if counts else "PASS")


@pytest.mark.requirement("H3")
def test_failed_weights_that_are_gone_are_named(tmp_path: Path) -> None:
    earlier_run(tmp_path, "old", checkpoints={**WEIGHTS, "dynamics": "4" * 64})
    now, sha256 = weights_file(tmp_path / "now")
    binding = {"config": CONFIG, "clip_digest": "attempts"}
    present = Present(tmp_path, "now", {**WEIGHTS, "dynamics": sha256}, binding, LIMITS, dynamics=now)
    found = earlier_verdicts(present)
    assert (found.failures, found.gone) == ([], ["old"])
    event = {"event": "earlier_verdicts", "attempt": 1, "draw": 1, **earlier_event(found, present)}
    (condition,) = recorded_conditions([event], 1, 1)
    assert condition.verdict == "PASS"
    assert "only their SHA-256 was compared" in condition.reason


@pytest.mark.requirement("H3", "G5")
@pytest.mark.parametrize("clips", ["attempts", "others", None])
def test_a_claim_that_did_not_hold_counts_on_any_clips_and_is_not_replaced(tmp_path: Path, clips: str | None) -> None:
    blind = [{"id": "G5.blind", "verdict": "INVALID", "reason": "it saw them"}]
    earlier_run(tmp_path, "old", mse=GOOD, clips=str(clips), verdict="INVALID", conditions=blind, clip_digest=clips)
    earlier_run(tmp_path, "passed", mse=GOOD, clips=str(clips))
    (found,) = failures(tmp_path)
    assert found["claim"] == "G5.blind"
    event = {"event": "earlier_verdicts", "attempt": 1, "draw": 1, "failures": [found]}
    (condition,) = recorded_conditions([event], 1, 1)
    assert condition.verdict == "FAIL"
    assert "in results/old (attempt 2, final draw) is INVALID by G5.blind" in condition.reason
    assert failures(tmp_path, weights={**WEIGHTS, "dynamics": "4" * 64}) == []
    assert len(failures(tmp_path, run="old")) == 1, "in the same run too"


@pytest.mark.requirement("H3")
@pytest.mark.parametrize("id", ["G5.unseen", "G5.earlier", "C4", "G5.trusted", "G8"])
def test_what_is_not_known_is_no_false_claim(tmp_path: Path, id: str) -> None:
    conditions = [{"id": id, "verdict": "INVALID", "reason": "not known"}]
    earlier_run(tmp_path, "old", mse=GOOD, verdict="INVALID", conditions=conditions)
    assert failures(tmp_path) == []


@pytest.mark.requirement("H3", "G5")
def test_an_attempt_whose_probe_failed_has_to_be_judged_first(tmp_path: Path) -> None:
    def crashed(name: str, **more: Any) -> None:
        blind = [{"id": "G5.blind", "verdict": "INVALID", "reason": "cannot be checked"}]
        earlier_run(
            tmp_path, name, mse=GOOD, verdict="INVALID", conditions=blind, probe="it exited with code 1", **more
        )

    crashed("old")
    (found,) = failures(tmp_path)
    assert found["unjudged"]
    event = {"event": "earlier_verdicts", "attempt": 1, "draw": 1, "failures": [found]}
    (condition,) = recorded_conditions([event], 1, 1)
    assert condition.verdict == "INVALID"
    assert "was not judged: it exited with code 1. Measure the clips of that run" in condition.reason
    assert failures(tmp_path, binding={"config": CONFIG, "clip_digest": "final"}) == [], "these clips are judged now"
    assert failures(tmp_path, weights={**WEIGHTS, "dynamics": "4" * 64}) == []
    earlier_run(tmp_path, "passed", mse=GOOD, clips="final")
    assert failures(tmp_path) == []


@pytest.mark.requirement("H3", "G5")
@pytest.mark.parametrize("probe", ["it exited with code 1", ""])
def test_a_verdict_that_is_invalid_replaces_no_failure(tmp_path: Path, probe: str) -> None:
    unseen = [{"id": "G5.unseen", "verdict": "INVALID", "reason": "not known"}]
    earlier_run(tmp_path, "old")
    earlier_run(tmp_path, "later", mse=GOOD, verdict="INVALID", conditions=unseen, probe=probe)
    (found,) = failures(tmp_path)
    assert found["run"] == "results/old"
    earlier_run(tmp_path / "alone", "old", verdict="INVALID", conditions=unseen)
    assert len(failures(tmp_path / "alone")) == 1, "its numbers fail"


MSE = "Mean Squared Error (GT vs Pred): 0.05000000\n"


def unjudged_run(root: Path, log: str | None, exit_code: int | None = None) -> None:
    """A run that was ended after its inference had started."""
    folder = root / "results" / "ended"
    with Journal(folder / "journal.jsonl") as journal:
        journal.append("run_started", kind="smoke")
        journal.append("checkpoints_checked", attempt=1, draw=1, checks=[], checkpoints=WEIGHTS)
        path = "results/ended/logs/inference_01.log"
        journal.append("inference_started", attempt=1, draw=1, command=[], log=path, checkpoints={})
        if exit_code is not None:
            journal.append("inference_finished", attempt=1, draw=1, exit_code=exit_code, checkpoints={})
    if log is not None:
        (folder / "logs").mkdir()
        (folder / "logs" / "inference_01.log").write_text(log)


@pytest.mark.requirement("H3", "G5")
@pytest.mark.parametrize(
    ("log", "exit_code", "counts"),
    [
        (MSE, 0, 1),
        (MSE, None, 1),
        (None, None, 1),
        (None, 0, 1),
        (f"[Data] f.h5: 4 held-out clips of 4 episodes, digest {'a' * 16}, device cpu\n{MSE}", 0, 0),
        ("Inferring frame 1/5 (batch 1/1)\n", None, 0),
        ("MemoryError\n", 1, 0),
    ],
    ids=["finished", "error shown", "log gone", "finished, log gone", "the same clips", "no result yet", "crashed"],
)
def test_a_result_without_a_verdict_has_to_be_judged_first(
    tmp_path: Path, log: str | None, exit_code: int | None, counts: int
) -> None:
    unjudged_run(tmp_path, log, exit_code)
    binding = {"config": CONFIG, "clip_digest": "a" * 64}
    found = failures(tmp_path / "results", binding=binding)
    assert len(found) == counts
    assert failures(tmp_path / "results", binding=binding, run="ended") == [], "a resumed run judges it"
    event = {"event": "earlier_verdicts", "attempt": 1, "draw": 1, "failures": found}
    (condition,) = recorded_conditions([event], 1, 1)
    assert condition.verdict == ("INVALID" if counts else "PASS")
    assert ("Finish it with --resume-run results/ended" in condition.reason) is bool(counts)


@pytest.mark.requirement("G3", "H3")
def test_an_emptied_list_of_earlier_failures_is_filled_again(tmp_path: Path) -> None:
    earlier_run(tmp_path, "old")
    binding = {"config": CONFIG, "clip_digest": "attempts"}
    verdict = {"event": "gate_verdict", "attempt": 1, "draw": 1}
    emptied = {"event": "earlier_verdicts", "attempt": 1, "draw": 1, "failures": []}
    present = Present(tmp_path, "now", WEIGHTS, binding, LIMITS)
    for events in ([emptied], []):
        (condition,) = recorded_conditions(with_earlier_now(events, verdict, present), 1, 1)
        assert condition.verdict == "FAIL"
    recorded = emptied | {"failures": earlier_verdicts(present).failures}
    assert with_earlier_now([recorded], verdict, present) == [recorded]
    assert with_earlier_now([recorded], verdict, replace(present, results=tmp_path / "gone")) == [recorded]
    before = replace(present, before=0.0)
    assert with_earlier_now([emptied], verdict, before) == [emptied], "a later failure changes no earlier verdict"


@pytest.mark.requirement("H3")
def test_a_journal_with_a_broken_chain_still_counts(tmp_path: Path) -> None:
    earlier_run(tmp_path, "old")
    path = tmp_path / "old" / "journal.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"kind": "smoke"', b'"kind": "smoky"'))
    assert len(failures(tmp_path)) == 1


@pytest.mark.parametrize("sketch", [None, {"w": [1, 2.0]}])
@pytest.mark.parametrize("gone", [[], ["2026_01_02"]])
def test_the_event_has_what_is_known(sketch: dict[str, list[float]] | None, gone: list[str]) -> None:
    found, present = SimpleNamespace(failures=[], gone=gone, unread=gone), SimpleNamespace(sketch=sketch)
    expected: dict[str, Any] = {"failures": []} | ({"gone": gone, "unread": gone} if gone else {})
    expected |= {} if sketch is None else {"dynamics_sketch": sketch}
    assert earlier_event(found, present) == expected  # type: ignore[arg-type]
