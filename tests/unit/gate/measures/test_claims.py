"""What an inference run states is held to what the harness finds itself: every false statement has its own name."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.unit.gate.measures.test_clip_facts import CONTEXT, STEPS, frames_file, measured
from tinyworlds_gate.errors import DataError
from tinyworlds_gate.gate.conditions import Condition
from tinyworlds_gate.gate.evidence import measured as read_measured
from tinyworlds_gate.gate.measures.baselines import TrainingFrames
from tinyworlds_gate.gate.measures.claims import ROUNDING, claim_conditions
from tinyworlds_gate.gate.measures.clip_facts import clip_facts
from tinyworlds_gate.gate.measures.raw import MeasuresError
from tinyworlds_gate.gate.measures.recomputed_errors import recomputed
from tinyworlds_gate.names import FAIL, INVALID, PASS
from tinyworlds_gate.reference.rollout.generated_frames import GeneratedFrames, read_generated, write_generated

__all__ = ["frames_file"]

WEIGHTS = {"video_tokenizer": "a" * 64, "latent_actions": "b" * 64, "dynamics": "c" * 64}
ASKED = {"generation_steps": STEPS, "teacher_forced": False, "seed": 3}
IDS = [
    "G5.frames",
    "G5.episodes",
    "G5.baseline",
    "G5.finite",
    "G5.settings",
    "G2.weights",
    "G5.recomputed",
    "G5.random",
    "G5.floor",
    "G5.repeat",
    "G5.blind",
]
Content = dict[str, Any]


@pytest.fixture
def honest(frames_file: Path) -> tuple[Content, GeneratedFrames]:
    """An inference run that darkens the last context frame by five levels, and measures that as it is."""
    with h5py.File(frames_file) as file:
        pixels = file["frames"][:].astype(np.int32)
    true = np.stack([pixels[start + CONTEXT : start + CONTEXT + STEPS] for start in (0, 8)])
    last = np.stack([pixels[start + CONTEXT - 1] for start in (0, 8)])[:, None]
    made = np.clip(last - 5, 0, 255).repeat(STEPS, axis=1)
    content = measured(frames_file, checkpoints=WEIGHTS, non_finite_values=0, temperature=0.0)
    for clip, errors in zip(content["clips"], np.square(made - true).mean(axis=(2, 3, 4)) / 255**2, strict=True):
        clip.update(rollout_mse=errors.tolist(), random_action_mse=errors.tolist())
    frames, finite = made.astype(np.uint8), np.zeros((*made.shape[:2], 8), np.uint8)
    return content, GeneratedFrames(frames, frames[:1].copy(), frames[:1].copy(), frames.copy(), finite)


def conditions(path: Path, content: Content, generated: GeneratedFrames) -> dict[str, Condition]:
    facts = clip_facts(content, path.parent)
    found = claim_conditions(content, facts, recomputed(generated, facts.true_BSHWC), ASKED, WEIGHTS)
    return {one.id: one for one in found}


@pytest.mark.requirement("G2", "G5")
def test_an_honest_run_holds_in_every_statement(frames_file: Path, honest: tuple[Content, GeneratedFrames]) -> None:
    found = conditions(frames_file, *honest)
    assert list(found) == IDS
    assert {one.verdict for one in found.values()} == {PASS}


def claims_half_the_error(content: Content) -> None:
    content["clips"][1]["rollout_mse"][2] /= 2


def scales_its_baseline(content: Content) -> None:
    for clip in content["clips"]:
        clip["copy_last_mse"] = [0.25 * value for value in clip["copy_last_mse"]]


def costs_four_times(content: Content) -> None:
    for clip in content["clips"]:
        clip["random_action_mse"] = [4 * value for value in clip["random_action_mse"]]


def floor_is(content: Content, value: float) -> None:
    for clip in content["clips"]:
        clip["tokenizer_recon_mse"] = value


FALSE: list[tuple[str, str, Callable[[Content], object], str]] = [
    ("G5.frames", INVALID, lambda c: c.update(clip_digest="0" * 64), r"clips in game_frames\.h5 are not those"),
    ("G5.baseline", INVALID, scales_its_baseline, "clip at 0, step 1: .* for copying the last frame, from the file"),
    ("G5.finite", INVALID, lambda c: c.update(non_finite_values=7), "counts 7 values .* its frames file marks 0"),
    ("G5.episodes", INVALID, lambda c: c["clips"][1].update(episode=7), r"clip at 8: .* states episode 7, in game"),
    ("G5.random", INVALID, costs_four_times, r"clip at \d, step \d: .* from .* is not the error of random actions"),
    ("G5.floor", INVALID, lambda c: floor_is(c, 0.5), r"the rollout error 0.\d+ is below 0.5\d+, the stated error"),
    ("G5.floor", INVALID, lambda c: floor_is(c, -0.1), "reconstruction error of the tokenizer of -0.1.*, which is no"),
    ("G5.floor", INVALID, lambda c: floor_is(c, math.nan), "of nan, which is no error"),
    ("G5.finite", INVALID, lambda c: c.pop("non_finite_values"), "does not say whether its frames are finite"),
    ("G5.settings", INVALID, lambda c: c.update(seed=4), "measured with seed=4 instead of 3"),
    (
        "G2.weights",
        INVALID,
        lambda c: c.update(checkpoints={**WEIGHTS, "dynamics": "d" * 64}),
        "weights of dynamics .*",
    ),
    ("G2.weights", INVALID, lambda c: c.pop("checkpoints"), "weights of video_tokenizer, latent_actions, dynamics"),
    ("G5.recomputed", INVALID, claims_half_the_error, "clip at 8, step 3: .* from the frames that it generated it is"),
]


@pytest.mark.requirement("G2", "G5")
@pytest.mark.parametrize(("id", "verdict", "falsify", "said"), FALSE)
def test_a_false_statement_is_named_and_only_that_one(
    frames_file: Path,
    honest: tuple[Content, GeneratedFrames],
    id: str,
    verdict: str,
    falsify: Callable[[Content], object],
    said: str,
) -> None:
    content, generated = honest
    falsify(content)
    found = conditions(frames_file, content, generated)
    assert {one.id: one.verdict for one in found.values() if one.verdict != PASS} == {id: verdict}
    assert re.search(said, found[id].reason), found[id].reason


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(
    ("probe", "id", "said"),
    [
        ("withheld", "G5.blind", r"9.* % of the generated values change when the true future is withheld"),
        ("repeated", "G5.repeat", r"9.* % of the generated values change from one rollout to the next"),
    ],
)
def test_frames_that_change_with_the_future_or_with_chance_are_reported(
    frames_file: Path, honest: tuple[Content, GeneratedFrames], probe: str, id: str, said: str
) -> None:
    content, generated = honest
    changed = replace(generated, **{probe: getattr(generated, probe) ^ 255})
    found = conditions(frames_file, content, changed)
    assert [one.id for one in found.values() if one.verdict != PASS] == [id]
    assert found[id].verdict == INVALID
    assert re.search(said, found[id].reason)


def test_a_teacher_forced_run_may_see_the_true_frames_and_a_sampled_one_may_vary(
    frames_file: Path, honest: tuple[Content, GeneratedFrames]
) -> None:
    content, generated = honest
    content.update(teacher_forced=True, temperature=1.0)
    other = generated.predicted[:1] ^ 255
    varying = replace(generated, withheld=other, repeated=other)
    facts = clip_facts(content, frames_file.parent)
    found = claim_conditions(content, facts, recomputed(varying, facts.true_BSHWC))
    assert [one.id for one in found] == [
        "G5.frames",
        "G5.episodes",
        "G5.baseline",
        "G5.finite",
        "G5.recomputed",
        "G5.random",
        "G5.floor",
        "G5.repeat",
    ]
    assert {one.verdict for one in found} == {PASS}


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(("share", "verdict"), [(0.81, PASS), (0.79, INVALID)])
def test_the_rollout_error_must_reach_four_fifths_of_the_tokenizer_s_own(
    frames_file: Path, honest: tuple[Content, GeneratedFrames], share: float, verdict: str
) -> None:
    content, generated = honest
    made = recomputed(generated, clip_facts(content, frames_file.parent).true_BSHWC)
    for clip, error in zip(content["clips"], made.mse_BS.mean(axis=1), strict=True):
        clip["tokenizer_recon_mse"] = float((math.sqrt(error) + ROUNDING) ** 2 / share)
    assert conditions(frames_file, content, generated)["G5.floor"].verdict == verdict


@pytest.mark.requirement("G5")
def test_values_that_are_marked_as_not_finite_fail_even_where_the_count_agrees(
    frames_file: Path, honest: tuple[Content, GeneratedFrames]
) -> None:
    content, generated = honest
    count = 2 * STEPS
    marked = replace(generated, non_finite=np.ones((2, STEPS, 1), np.uint8))
    assert conditions(frames_file, content, marked)["G5.finite"].verdict == INVALID
    content["non_finite_values"] = count
    found = conditions(frames_file, content, marked)["G5.finite"]
    assert (found.verdict, found.reason[:9]) == (FAIL, f"{count} values"[:9])


@pytest.mark.requirement("G5")
def test_a_run_that_leaves_no_frames_of_random_actions_is_no_evidence(
    frames_file: Path, honest: tuple[Content, GeneratedFrames]
) -> None:
    content, generated = honest
    found = conditions(frames_file, content, replace(generated, random=None))
    assert [(one.id, one.verdict) for one in found.values() if one.verdict != PASS] == [("G5.random", INVALID)]


@pytest.mark.requirement("G5")
def test_the_stated_mean_frame_is_compared_where_its_frames_are_known(
    frames_file: Path, honest: tuple[Content, GeneratedFrames]
) -> None:
    content, generated = honest
    training = TrainingFrames(frames_file, (0, 1), 1)
    facts = clip_facts(content, frames_file.parent, training)
    assert facts.baselines.mean_frame_mse_BS is not None
    for factor, verdict in ((1, PASS), (4, INVALID)):
        for clip, errors in zip(content["clips"], facts.baselines.mean_frame_mse_BS, strict=True):
            clip["mean_frame_mse"] = (factor * errors).tolist()
        found = {one.id: one for one in claim_conditions(content, facts, recomputed(generated, facts.true_BSHWC))}
        assert found["G5.baseline"].verdict == verdict
    assert "for the mean frame, from the file it is" in found["G5.baseline"].reason


@pytest.mark.requirement("G5")
def test_a_pixel_of_the_file_that_changed_since_is_found(
    frames_file: Path, honest: tuple[Content, GeneratedFrames]
) -> None:
    with h5py.File(frames_file, "r+") as file:
        file["frames"][3, 0, 0, 0] ^= 1
    assert conditions(frames_file, *honest)["G5.frames"].verdict == INVALID


@pytest.mark.requirement("G5")
@pytest.mark.parametrize("table", ["predicted", "withheld", "repeated", "random"])
def test_frames_of_another_size_or_none_are_no_evidence(
    frames_file: Path, honest: tuple[Content, GeneratedFrames], table: str
) -> None:
    content, generated = honest
    facts = clip_facts(content, frames_file.parent)
    for cut in (getattr(generated, table)[:0], getattr(generated, table)[:, :-1]):
        with pytest.raises(MeasuresError, match="run inference again"):
            recomputed(replace(generated, **{table: cut}), facts.true_BSHWC)


def test_generated_frames_come_back_as_they_were_written(
    tmp_path: Path, honest: tuple[Content, GeneratedFrames]
) -> None:
    _, generated = honest
    write_generated(tmp_path / "frames.h5", generated)
    found = read_generated(tmp_path / "frames.h5")
    for name in ("predicted", "withheld", "repeated", "random", "non_finite"):
        assert np.array_equal(getattr(found, name), getattr(generated, name))
    assert [path.name for path in tmp_path.glob("frames*")] == ["frames.h5"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "wrote no generated frames"),
        (b"", r"is empty \(0 bytes\)"),
        (b"text", r"is not an HDF5 file \(4 bytes\)"),
    ],
)
def test_a_file_of_frames_that_is_missing_or_damaged_is_reported(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    path = tmp_path / "frames.h5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_generated(path)


@pytest.mark.requirement("G5")
@pytest.mark.parametrize("name", [None, "gone.h5", "../elsewhere.h5"])
def test_a_measures_file_without_its_frames_is_invalid(
    frames_file: Path, honest: tuple[Content, GeneratedFrames], name: str | None
) -> None:

    content, _ = honest
    path = frames_file.parent / "measures.json"
    path.write_text(json.dumps({**content, "generated_frames": name}))
    found = read_measured(path, frames_file.parent)
    assert found.measures is not None
    (claim,) = [one for one in found.claims if one.verdict != PASS]
    assert (claim.id, claim.verdict) == ("G5.recomputed", INVALID)
    assert "its errors cannot be checked" in claim.reason


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(
    ("made", "true", "error"),
    [(0, 255, 1.0), (255, 0, 1.0), (10, 26, (16 / 255) ** 2), (26, 10, (16 / 255) ** 2), (7, 7, 0.0), (0, 1, 255**-2)],
)
def test_recomputed_errors_and_changes_do_not_wrap_at_eight_bits(made: int, true: int, error: float) -> None:
    frames, truth = (np.full((2, 3, 4, 4, 3), level, np.uint8) for level in (made, true))
    changed = frames[:1].copy()
    changed[:, 0] = true
    found = recomputed(GeneratedFrames(frames, changed, frames[:1], truth), truth)
    assert found.mse_BS == pytest.approx(np.full((2, 3), error))
    assert found.random_mse_BS == pytest.approx(np.zeros((2, 3)))
    assert found.withheld_changed == pytest.approx(1 / 3 if abs(made - true) > 2 else 0.0)
    assert found.repeated_changed == 0.0
