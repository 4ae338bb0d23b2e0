"""Compare what an inference run states with what the harness computes itself; each comparison is a condition (pure).

The errors in a measures file are those of the process that wrote it. They are evidence only when the clips, the
baselines, the generated frames, the settings and the weights are those that the harness requested and reads itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tinyworlds_gate.gate.conditions import Condition
from tinyworlds_gate.gate.measures.clip_facts import ClipFacts
from tinyworlds_gate.gate.measures.intervals import ratio_interval
from tinyworlds_gate.gate.measures.probe import Probed
from tinyworlds_gate.gate.measures.recomputed_errors import WHITE, Recomputed
from tinyworlds_gate.names import FAIL, INVALID, NOT_RUN, PASS

BASELINE_AGREEMENT = 1e-3
"""Relative: the process computes in float32."""
LEAST_ERROR = 1e-7
"""Absolute: where nothing moves."""
ROUNDING = 0.5 / WHITE + 1e-4
"""Of a frame's root mean squared error in [0, 1]: rounding to bytes moves it by half a level at most (triangle
inequality), float32 by less than the rest."""
MOST_BELOW = 0.8
"""The share of the tokenizer's reconstruction error that the rollout error must reach."""
FLOOR_AGREEMENT, LEAST_FLOOR = 0.02, 1e-6
"""Relative and absolute: a token of the tokenizer that flips, on some GPUs."""
MOST_CHANGED = 0.01
"""The share of values that a probe may change: a token that flips where two are equally likely, on some GPUs."""


def claim_conditions(
    raw: Mapping[str, Any],
    facts: ClipFacts,
    made: Recomputed | None,
    requested: Mapping[str, Any] | None = None,
    weights: Mapping[str, str] | None = None,
    probe: Probed | None = None,
) -> list[Condition]:
    """The conditions on one measures file.

    Args:
        raw: the measures as the process wrote them.
        facts: of the clips that they name, read from the frames file.
        made: what its generated frames give; None: they cannot be read, which the caller reports.
        requested: setting → value that the harness requested; None: not compared.
        weights: stage → SHA-256 of the weights to measure; None: not compared.
        probe: what a fresh process generated again; None: there was none (files of schema 4 and older hold probes).
    """
    conditions = [_clips(raw, facts), _episodes(raw, facts), _baseline(raw, facts), _finite(raw, made)]
    if requested is not None:
        conditions.append(_settings(raw, requested))
    if weights is not None:
        conditions.append(_weights(raw, weights))
    if made is not None:
        conditions.append(_errors(raw, made))
        conditions.append(_random_actions(raw, made, probe))
        conditions.append(_floor(raw, made, facts, probe))
        if probe is None:
            conditions += _older_probes(raw, made)
    if probe is not None:
        conditions += _probed(raw, probe)
    return conditions


def _invalid(id: str, problem: str | None, holds: str) -> Condition:
    return Condition(id, PASS, holds) if problem is None else Condition(id, INVALID, problem)


def _clips(raw: Mapping[str, Any], facts: ClipFacts) -> Condition:
    same = raw.get("clip_digest") == facts.clip_digest
    problem = (
        f"the clips in {facts.file} are not those that were measured (another digest): the file changed, or the "
        "inference run read other frames; run inference again"
    )
    return _invalid("G5.frames", None if same else problem, f"the clips measured stand in {facts.file}, byte for byte")


def _episodes(raw: Mapping[str, Any], facts: ClipFacts) -> Condition:
    wrong = np.flatnonzero(np.array([clip["episode"] for clip in raw["clips"]]) != facts.episodes)
    problem = None
    if len(wrong):
        first = wrong[0]
        problem = (
            f"clip at {raw['clips'][first]['start']}: the inference run states episode "
            f"{raw['clips'][first]['episode']}, in {facts.file} it is {facts.episodes[first]} ({len(wrong)} clips are "
            "wrong): the interval over episodes would not be one"
        )
    return _invalid("G5.episodes", problem, f"the clips lie in the stated episodes of {facts.file}")


def _baseline(raw: Mapping[str, Any], facts: ClipFacts) -> Condition:
    known = [("copy_last_mse", "copying the last frame", facts.copy_last_mse_BS)]
    if facts.baselines.mean_frame_mse_BS is not None:
        known.append(("mean_frame_mse", "the mean frame", facts.baselines.mean_frame_mse_BS))
    for key, what, mse_BS in known:
        claimed = np.array([clip[key] for clip in raw["clips"]], np.float64)
        wrong = ~np.isclose(claimed, mse_BS, rtol=BASELINE_AGREEMENT, atol=LEAST_ERROR)
        if wrong.any():
            clip, step = np.argwhere(wrong)[0]
            why = (
                f"clip at {raw['clips'][clip]['start']}, step {step + 1}: the inference run states an error of "
                f"{claimed[clip, step]:.6f} for {what}, from the file it is {mse_BS[clip, step]:.6f}: its frames were "
                "scaled, cut or mixed up before they were compared, so its other errors are no evidence"
            )
            return Condition("G5.baseline", INVALID, why)
    return Condition("G5.baseline", PASS, f"{' and '.join(what for _, what, _ in known)} score the same from the file")


def _finite(raw: Mapping[str, Any], made: Recomputed | None) -> Condition:
    count = raw.get("non_finite_values")
    found = None if made is None else made.non_finite
    if isinstance(count, int) and found is not None and count != found:
        reason = (
            f"the inference run counts {count} values that were no finite number, its frames file marks {found}: one "
            "of the two is not of this rollout"
        )
        return Condition("G5.finite", INVALID, reason)
    if count is None:
        return Condition("G5.finite", INVALID, "the inference run does not say whether its frames are finite numbers")
    if count:
        reason = (
            f"{count} values of the generated frames were no finite number before they were clamped: the model "
            "overflows, and clamping hides it"
        )
        return Condition("G5.finite", FAIL, reason)
    return Condition("G5.finite", PASS, "every generated value is a finite number")


def _settings(raw: Mapping[str, Any], requested: Mapping[str, Any]) -> Condition:
    other = [f"{key}={raw.get(key)!r} instead of {one!r}" for key, one in requested.items() if raw.get(key) != one]
    problem = f"the inference run measured with {', '.join(other)}: not the requested settings" if other else None
    return _invalid("G5.settings", problem, "measured with the requested settings")


def _weights(raw: Mapping[str, Any], weights: Mapping[str, str]) -> Condition:
    loaded = raw.get("checkpoints") or {}
    other = [stage for stage, digest in weights.items() if loaded.get(stage) != digest]
    problem = None
    if other:
        stage = other[0]
        problem = (
            f"the weights of {', '.join(other)} that were measured are not those that this run chose: "
            f"{str(loaded.get(stage))[:12]} instead of {weights[stage][:12]}"
        )
    return _invalid("G2.weights", problem, "the weights measured are those that this run chose")


def _errors(raw: Mapping[str, Any], made: Recomputed) -> Condition:
    claimed = np.array([clip["rollout_mse"] for clip in raw["clips"]], np.float64)
    problem = _apart(raw, claimed, made.mse_BS, "these frames")
    return _invalid("G5.recomputed", problem, "the errors are those of the generated frames, computed once more")


def _apart(raw: Mapping[str, Any], claimed_BS: np.ndarray, mse_BS: np.ndarray, whose: str) -> str | None:
    """Return where stated errors differ most from those of the generated frames; None where rounding explains it."""
    known = np.isfinite(claimed_BS)
    apart = np.abs(np.sqrt(np.where(known, np.maximum(claimed_BS, 0.0), mse_BS)) - np.sqrt(mse_BS))
    if not (apart > ROUNDING).any():
        return None
    clip, step = np.unravel_index(int(np.argmax(apart)), apart.shape)
    return (
        f"clip at {raw['clips'][clip]['start']}, step {step + 1}: the inference run states an error of "
        f"{claimed_BS[clip, step]:.6f}, from the frames that it generated it is {mse_BS[clip, step]:.6f}: what it "
        f"states is not the error of {whose}"
    )


def _random_actions(raw: Mapping[str, Any], made: Recomputed, probe: Probed | None) -> Condition:
    """The stated errors of random actions, compared with those of their frames, and these with the probe's."""
    if made.random_mse_BS is None:
        reason = "the inference run left no frames of random actions, so what they cost cannot be computed"
        return Condition("G5.random", INVALID, f"{reason}; run inference again")
    claimed = np.array([clip["random_action_mse"] for clip in raw["clips"]], np.float64)
    problem = _apart(raw, claimed, made.random_mse_BS, "random actions")
    if problem is None and probe is not None and (probe.random or 0.0) > MOST_CHANGED:
        problem = (
            f"{_share(probe.random or 0.0)} of the values of the frames of random actions are others than these "
            f"weights generate with these actions ({probe.clips} clips): what random actions cost is not known"
        )
    elif problem is None and probe is not None and probe.random_gain:
        problem = (
            "with random actions these weights generate better frames than the inference run left: "
            f"{probe.random_gain}: what random actions cost is not known"
        )
    return _invalid("G5.random", problem, "the errors with random actions are those of their frames")


def _floor(raw: Mapping[str, Any], made: Recomputed, facts: ClipFacts, probe: Probed | None) -> Condition:
    """The tokenizer's stated reconstruction error: no model that decodes with it predicts better.

    It is stated for other frames of the same clips, so the rollout error must be distinguishably below it. The probe
    computes it for the clips that were chosen.
    """
    floor_B = np.array([clip["tokenizer_recon_mse"] for clip in raw["clips"]], np.float64)
    error_B = np.square(np.sqrt(made.mse_BS.mean(axis=1)) + ROUNDING)
    floor, error = float(floor_B.mean()), float(made.mse_BS.mean())
    problem = None
    if not (math.isfinite(floor) and (floor_B >= 0).all()):
        problem = f"the inference run states a reconstruction error of the tokenizer of {floor}, which is no error"
    elif error_B.mean() < MOST_BELOW * floor and not ratio_interval(error_B, floor_B, facts.episodes)[1] >= 1:
        problem = (
            f"the rollout error {error:.6f} is below {floor:.6f}, the stated error of the tokenizer's own "
            "reconstruction: the frames were not decoded from predicted tokens, the tokenizer does not encode the true "
            "frames, or the stated error is wrong"
        )
    elif probe is not None and probe.recon_mse is not None:
        stated, known = float(floor_B[list(probe.rows)].mean()), float(probe.recon_mse.mean())
        if not math.isclose(stated, known, rel_tol=FLOOR_AGREEMENT, abs_tol=LEAST_FLOOR):
            problem = (
                f"the inference run states a reconstruction error of the tokenizer of {stated:.6f} for {probe.clips} "
                f"clips, these weights give {known:.6f}"
            )
    return _invalid("G5.floor", problem, "the rollout error is not below the tokenizer's own reconstruction error")


def _probed(raw: Mapping[str, Any], probe: Probed) -> list[Condition]:
    """Whether the same frames are generated again without the true future, with either seed."""
    if probe.not_run:
        return [Condition("G5.blind", NOT_RUN, probe.not_run)]
    if probe.problem:
        reason = f"whether the rollout saw the frames that it is to predict cannot be checked: {probe.problem}"
        return [Condition("G5.blind", INVALID, reason)]
    problem = None
    why = (
        "the rollout saw the frames that it is to predict, used other settings than requested, or its frames are not "
        "of these weights"
    )
    if probe.changed > MOST_CHANGED:
        problem = (
            f"{_share(probe.changed)} of the generated values are others than these weights generate without the true "
            f"future, from the same context, actions and settings ({probe.changed_clips} of {probe.clips} clips "
            f"chosen at random differ): {why}"
        )
    elif probe.gain:
        problem = (
            f"the generated frames are better than those that these weights generate without the true future, from the "
            f"same context, actions and settings: {probe.gain} chosen at random: {why}"
        )
    blind = _invalid(
        "G5.blind",
        problem,
        f"without the true future the same frames are generated again ({probe.clips} clips chosen at random)",
    )
    return [*_actions(probe), _repeated(raw, probe.repeated, f"{probe.clips} clips chosen at random"), blind]


def _actions(probe: Probed) -> list[Condition]:
    """Whether the actions are those that the latent-action model infers; none where the probe inferred none."""
    if probe.codes is None:
        return []
    problem = (
        f"{_share(probe.codes)} of the action codes are others than these weights infer from the true frames "
        f"({probe.clips} clips chosen at random): the rollout followed other actions"
    )
    reason = "the actions are those that the latent-action model infers from the true frames"
    return [_invalid("G5.actions", problem if probe.codes > MOST_CHANGED else None, reason)]


def _older_probes(raw: Mapping[str, Any], made: Recomputed) -> list[Condition]:
    """The probes in files of schema 3 and 4, which the inference process made itself."""
    where, conditions = f"first {made.probed_clips} clips", list[Condition]()
    if made.repeated_changed is not None:
        conditions.append(_repeated(raw, made.repeated_changed, where))
    if made.withheld_changed is not None and not raw.get("teacher_forced"):
        problem = (
            f"{_share(made.withheld_changed)} of the generated values change when the true future is withheld "
            f"({where}): the rollout sees the frames that it is to predict, so it is not strict"
        )
        reason = "the generated frames stay the same when the true future is withheld"
        conditions.append(_invalid("G5.blind", problem if made.withheld_changed > MOST_CHANGED else None, reason))
    return conditions


def _repeated(raw: Mapping[str, Any], changed: float | None, where: str) -> Condition:
    sampled = not math.isclose(float(raw.get("temperature") or 0.0), 0.0)
    if sampled or changed is None:
        return Condition("G5.repeat", PASS, f"tokens are sampled (temperature {raw['temperature']}), as requested")
    problem = (
        f"{_share(changed)} of the generated values change from one rollout to the next ({where}) although the "
        "temperature is 0: another run would give another error"
    )
    reason = "a second rollout with another seed gives the same frames"
    return _invalid("G5.repeat", problem if changed > MOST_CHANGED else None, reason)


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"
