"""Each statement of an inference run at the limit of its comparison, and the probe's, in whole sentences.

pytest tests/unit/gate/measures/test_claims_edges.py
"""

from __future__ import annotations

import copy
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tinyworlds_gate.gate.measures.claims import claim_conditions

WEIGHTS = {"video_tokenizer": "a" * 64, "dynamics": "b" * 64}
CLIP = {
    **{"start": 4, "episode": 1, "tokenizer_recon_mse": 0.01, "rollout_mse": [0.04, 0.04]},
    **{"random_action_mse": [0.09, 0.09], "copy_last_mse": [0.5, 0.5], "mean_frame_mse": [0.25, 0.25]},
}
RAW: dict[str, Any] = {
    **{"clip_digest": "d", "clips": [CLIP, {**CLIP, "start": 8, "episode": 2}], "non_finite_values": 0, "seed": 3},
    **{"temperature": 0.0, "checkpoints": WEIGHTS, "teacher_forced": False},
}


def table(value: float) -> np.ndarray:
    return np.full((2, 2), value)


def facts(**changes: Any) -> Any:
    baselines = SimpleNamespace(mean_frame_mse_BS=changes.pop("mean", table(0.25)))
    fields = {"file": "f.h5", "clip_digest": "d", "episodes": np.array([1, 2]), "copy_last_mse_BS": table(0.5)}
    return SimpleNamespace(baselines=baselines, **{**fields, **changes})


def made(**changes: Any) -> Any:
    fields = {"mse_BS": table(0.04), "random_mse_BS": table(0.09), "non_finite": 0, "probed_clips": 1}
    return SimpleNamespace(**{**fields, "withheld_changed": None, "repeated_changed": None, **changes})


def probe(**changes: Any) -> Any:
    fields = {"not_run": "", "problem": "", "changed": 0.0, "gain": "", "changed_clips": 0, "clips": 2, "codes": 0.0}
    more = {"repeated": 0.0, "random": 0.0, "random_gain": "", "recon_mse": np.array([0.01, 0.01]), "rows": (0, 1)}
    return SimpleNamespace(**{**fields, **more, **changes})


def raw(clip: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Return the measures with these changes; ``clip`` changes the second clip."""
    content = copy.deepcopy(RAW) | changes
    content["clips"][1].update(clip or {})
    return content


def judged(
    content: dict[str, Any] = RAW, of: Any = None, frames: Any = None, by: Any = None
) -> dict[str, tuple[str, str]]:
    found = claim_conditions(content, of or facts(), frames or made(), {"seed": 3}, WEIGHTS, by)
    return {one.id: (one.verdict, one.reason) for one in found}


@pytest.mark.requirement("G2", "G5")
def test_an_honest_run_says_what_was_compared() -> None:
    assert judged(by=probe()) == {
        "G5.frames": ("PASS", "the clips measured stand in f.h5, byte for byte"),
        "G5.episodes": ("PASS", "the clips lie in the stated episodes of f.h5"),
        "G5.baseline": ("PASS", "copying the last frame and the mean frame score the same from the file"),
        "G5.finite": ("PASS", "every generated value is a finite number"),
        "G5.settings": ("PASS", "measured with the requested settings"),
        "G2.weights": ("PASS", "the weights measured are those that this run chose"),
        "G5.recomputed": ("PASS", "the errors are those of the generated frames, computed once more"),
        "G5.random": ("PASS", "the errors with random actions are those of their frames"),
        "G5.floor": ("PASS", "the rollout error is not below the tokenizer's own reconstruction error"),
        "G5.actions": ("PASS", "the actions are those that the latent-action model infers from the true frames"),
        "G5.repeat": ("PASS", "a second rollout with another seed gives the same frames"),
        "G5.blind": ("PASS", "without the true future the same frames are generated again (2 clips chosen at random)"),
    }
    bare = claim_conditions(RAW, facts(mean=None), None)
    assert [one.id for one in bare] == ["G5.frames", "G5.episodes", "G5.baseline", "G5.finite"]
    assert bare[2].reason == "copying the last frame score the same from the file"


ROUNDING = 0.5 / 255 + 1e-4


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(
    ("id", "clip", "verdict"),
    [
        ("G5.baseline", {"copy_last_mse": [0.5, 0.50049]}, "PASS"),
        ("G5.baseline", {"copy_last_mse": [0.5, 0.50051]}, "INVALID"),
        ("G5.baseline", {"mean_frame_mse": [0.2497, 0.25]}, "INVALID"),
        ("G5.recomputed", {"rollout_mse": [0.04, (0.2 + 0.99 * ROUNDING) ** 2]}, "PASS"),
        ("G5.recomputed", {"rollout_mse": [0.04, (0.2 + 1.01 * ROUNDING) ** 2]}, "INVALID"),
        ("G5.recomputed", {"rollout_mse": [(0.2 - 1.01 * ROUNDING) ** 2, 0.04]}, "INVALID"),
        ("G5.recomputed", {"rollout_mse": [math.nan, 0.04]}, "PASS"),
        ("G5.recomputed", {"rollout_mse": [-1.0, 0.04]}, "INVALID"),
        ("G5.random", {"random_action_mse": [0.09, 0.04]}, "INVALID"),
        ("G5.floor", {"tokenizer_recon_mse": -0.001}, "INVALID"),
        ("G5.floor", {"tokenizer_recon_mse": math.inf}, "INVALID"),
        ("G5.floor", {"tokenizer_recon_mse": 0.0}, "PASS"),
        ("G5.episodes", {"episode": 1}, "INVALID"),
    ],
)
def test_a_stated_error_is_compared_up_to_rounding(id: str, clip: dict[str, Any], verdict: str) -> None:
    found = judged(raw(clip))
    assert {one: found[one][0] for one in ("G5.frames", id)} == {"G5.frames": "PASS", id: verdict}


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(
    ("content", "id", "reason"),
    [
        (raw({"episode": 7}), "G5.episodes", "clip at 8: the inference run states episode 7, in f.h5 it is 2 (1 "
        "clips are "
         "wrong): the interval over episodes would not be one"),
        (raw({"copy_last_mse": [0.5, 0.6]}), "G5.baseline", "clip at 8, step 2: the inference run states an error of "
         "0.600000 for copying the last frame, from the file it is 0.500000: its frames were scaled, cut or mixed up "
         "before they were compared, so its other errors are no evidence"),
        (raw({"rollout_mse": [0.05, 0.09]}), "G5.recomputed", "clip at 8, step 2: the inference run states an error of "
         "0.090000, from the frames that it generated it is 0.040000: what it states is not the error of these frames"),
        (raw(seed=4), "G5.settings", "the inference run measured with seed=4 instead of 3: not the requested settings"),
        (raw(checkpoints={"video_tokenizer": "a" * 64, "dynamics": "c" * 64}), "G2.weights", "the weights of dynamics "
         "that were measured are not those that this run chose: cccccccccccc instead of bbbbbbbbbbbb"),
        (raw(checkpoints=None), "G2.weights", "the weights of video_tokenizer, dynamics that were measured are not "
        "those "
         "that this run chose: None instead of aaaaaaaaaaaa"),
        (raw(non_finite_values=2), "G5.finite", "the inference run counts 2 values that were no finite number, its "
        "frames "
         "file marks 0: one of the two is not of this rollout"),
    ],
)  # fmt: skip
def test_a_false_statement_in_a_sentence(content: dict[str, Any], id: str, reason: str) -> None:
    assert judged(content)[id] == ("INVALID", reason)


@pytest.mark.requirement("G5")
def test_values_that_were_no_numbers() -> None:
    overflow = judged(raw(non_finite_values=3), frames=made(non_finite=3))["G5.finite"]
    assert overflow == (
        "FAIL",
        "3 values of the generated frames were no finite number before they were clamped: the model overflows, and "
        "clamping hides it",
    )
    assert judged(raw(non_finite_values=3), frames=made(non_finite=None))["G5.finite"][0] == "FAIL"
    unknown = ("INVALID", "the inference run does not say whether its frames are finite numbers")
    assert judged(raw(non_finite_values=None))["G5.finite"] == unknown


SEEN = (
    "the rollout saw the frames that it is to predict, used other settings than requested, or its frames are not of "
    "these "
    "weights"
)


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(
    ("id", "changes", "reason"),
    [
        ("G5.blind", {"changed": 0.01}, None),
        ("G5.blind", {"changed": 0.0111, "changed_clips": 1}, "1.1 % of the generated values are others than these "
        "weights "
         "generate without the true future, from the same context, actions and settings (1 of 2 clips chosen at random "
         f"differ): {SEEN}"),
        ("G5.blind", {"gain": "better in 2"}, "the generated frames are better than those that these weights generate "
         "without the true future, from the same context, actions and settings: better in 2 chosen at random: " + SEEN),
        ("G5.blind", {"problem": "it crashed"}, "whether the rollout saw the frames that it is to predict cannot be "
         "checked: it crashed"),
        ("G5.actions", {"codes": 0.01}, None),
        ("G5.actions", {"codes": 0.02}, "2.0 % of the action codes are others than these weights infer from the true "
         "frames (2 clips chosen at random): the rollout followed other actions"),
        ("G5.repeat", {"repeated": 0.01}, None),
        ("G5.repeat", {"repeated": 0.02}, "2.0 % of the generated values change from one rollout to the next (2 clips "
         "chosen at random) although the temperature is 0: another run would give another error"),
        ("G5.random", {"random": 0.01}, None),
        ("G5.random", {"random": None}, None),
        ("G5.random", {"random": 0.02}, "2.0 % of the values of the frames of random actions are others than these "
        "weights "
         "generate with these actions (2 clips): what random actions cost is not known"),
        ("G5.random", {"random_gain": "more"}, "with random actions these weights generate better frames than the "
         "inference run left: more: what random actions cost is not known"),
        ("G5.floor", {"recon_mse": np.array([0.0102, 0.0102])}, None),
        ("G5.floor", {"recon_mse": np.array([0.0103, 0.0103])}, "the inference run states a reconstruction error of "
        "the "
         "tokenizer of 0.010000 for 2 clips, these weights give 0.010300"),
        ("G5.floor", {"recon_mse": None}, None),
    ],
)  # fmt: skip
def test_what_the_probe_generates_again(id: str, changes: dict[str, Any], reason: str | None) -> None:
    verdict, said = judged(by=probe(**changes))[id]
    assert (verdict, None if verdict == "PASS" else said) == ("PASS" if reason is None else "INVALID", reason)


def test_a_probe_that_did_not_run_or_knows_no_codes() -> None:
    without = judged(by=probe(not_run="no occasion: x"))
    assert without["G5.blind"] == ("NOT-RUN", "no occasion: x")
    assert "G5.repeat" not in without
    assert "G5.actions" not in judged(by=probe(codes=None))
    sampled = judged(raw(temperature=0.5), by=probe(repeated=0.9))["G5.repeat"]
    assert sampled == ("PASS", "tokens are sampled (temperature 0.5), as requested")
    assert judged(by=probe(repeated=None))["G5.repeat"][0] == "PASS"
    none = judged(frames=made(random_mse_BS=None))["G5.random"]
    assert none == (
        "INVALID",
        "the inference run left no frames of random actions, so what they cost cannot be computed; run inference again",
    )


@pytest.mark.requirement("G5")
def test_probes_of_older_files() -> None:
    assert {"G5.repeat", "G5.blind"} & judged().keys() == set()
    both = made(withheld_changed=0.01, repeated_changed=0.01)
    assert [judged(frames=both)[id][0] for id in ("G5.repeat", "G5.blind")] == ["PASS", "PASS"]
    assert judged(frames=both)["G5.blind"][1] == "the generated frames stay the same when the true future is withheld"
    changed = made(withheld_changed=0.02, repeated_changed=0.02)
    assert judged(frames=changed)["G5.blind"] == (
        "INVALID",
        "2.0 % of the generated values change when the true future is withheld (first 1 clips): the rollout sees the "
        "frames that it is to predict, so it is not strict",
    )
    assert judged(frames=changed)["G5.repeat"][1].startswith("2.0 % of the generated values change from one rollout to")
    assert "G5.blind" not in judged(raw(teacher_forced=True), frames=changed)


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(("error", "verdict"), [(0.009, "PASS"), (0.0055, "INVALID")])
def test_the_rollout_error_is_not_far_below_the_reconstruction_s(error: float, verdict: str) -> None:
    same = {"rollout_mse": [error, error]}
    content = raw(same)
    content["clips"][0].update(same)
    found = judged(content, frames=made(mse_BS=table(error)))["G5.floor"]
    assert found[0] == verdict
    if verdict == "INVALID":
        assert found[1].startswith(
            "the rollout error 0.005500 is below 0.010000, the stated error of the tokenizer's own"
        )
