"""What an inference run states is held to what the harness finds itself: every false statement has its own name."""

from __future__ import annotations

import json
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
from tinyworlds_gate.gate.measures.claims import claim_conditions
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
    "G5.baseline",
    "G5.finite",
    "G5.settings",
    "G2.weights",
    "G5.recomputed",
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
        clip["rollout_mse"] = errors.tolist()
    frames = made.astype(np.uint8)
    return content, GeneratedFrames(frames, frames[:1].copy(), frames[:1].copy())


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


FALSE: list[tuple[str, str, Callable[[Content], object], str]] = [
    ("G5.frames", INVALID, lambda c: c.update(clip_digest="0" * 64), r"clips in game_frames\.h5 are not those"),
    ("G5.baseline", INVALID, scales_its_baseline, "clip at 0, step 1: .* for copying the last frame, from the file"),
    ("G5.finite", FAIL, lambda c: c.update(non_finite_values=7), "7 values .* were no finite number before they were"),
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
    varying = replace(generated, withheld=generated.withheld ^ 255, repeated=generated.repeated ^ 255)
    facts = clip_facts(content, frames_file.parent)
    found = claim_conditions(content, facts, recomputed(varying, facts.true_BSHWC))
    assert [one.id for one in found] == ["G5.frames", "G5.baseline", "G5.finite", "G5.recomputed", "G5.repeat"]
    assert {one.verdict for one in found} == {PASS}


@pytest.mark.requirement("G5")
def test_a_pixel_of_the_file_that_changed_since_is_found(
    frames_file: Path, honest: tuple[Content, GeneratedFrames]
) -> None:
    with h5py.File(frames_file, "r+") as file:
        file["frames"][3, 0, 0, 0] ^= 1
    assert conditions(frames_file, *honest)["G5.frames"].verdict == INVALID


@pytest.mark.requirement("G5")
@pytest.mark.parametrize("table", ["predicted", "withheld", "repeated"])
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
    for name in ("predicted", "withheld", "repeated"):
        assert np.array_equal(getattr(found, name), getattr(generated, name))
    assert [path.name for path in tmp_path.glob("frames*")] == ["frames.h5"]


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "wrote no generated frames"), (b"", "cannot be read"), (b"no HDF5 at all", "cannot be read")],
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
