"""What a probe shows: whether the frames of the inference run come from context, actions and weights alone (pure).

A probe is a fresh process that never had the true future (`reference/rollout/probe.py`). It generates the frames of
clips that the harness chose at random after the inference process had ended, and frames from the context of another
clip, which show how much the past matters (G7).

Axes: B clips, K chosen clips, S generated frames, H height, W width, C colours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinyworlds_gate.gate.measures.intervals import mean_interval
from tinyworlds_gate.gate.measures.played import played_record
from tinyworlds_gate.gate.measures.probe_gain import ROUNDING_VARIANCE, error_gain, object_gain
from tinyworlds_gate.gate.measures.probe_plan import FOREIGN, PLAYED, PREDICTED, RANDOM, REPEATED
from tinyworlds_gate.gate.measures.raw import MeasuresError
from tinyworlds_gate.gate.measures.recomputed_errors import changed_share, frame_errors
from tinyworlds_gate.gate.measures.summary import GateMeasures
from tinyworlds_gate.reference.rollout.generated_frames import NO_CODE, GeneratedFrames
from tinyworlds_gate.reference.rollout.probe_files import ProbeResult

LEAST_EPISODES = 5
"""Episodes whose clips must have contexts that differ, so that G7 can be judged."""


@dataclass(frozen=True)
class Probe:
    """What a probe generated of the chosen clips, or why there is nothing.

    ``problem``: why its frames cannot be used, so that the evidence is INVALID. ``not_run``: why no probe was needed.
    ``played``: the clips that followed freely chosen codes; empty in older versions.
    """

    result: ProbeResult | None = None
    clips: tuple[int, ...] = ()
    foreign: tuple[tuple[int, int], ...] = ()
    problem: str = ""
    not_run: str = ""
    played: tuple[int, ...] = ()


@dataclass(frozen=True)
class Probed:
    """Shares of the values that differ between the inference run and its probe, and the records of G7 and G5.played.

    ``repeated`` (two rollouts of the probe with different seeds) is None where tokens are sampled. ``codes`` is the
    share of the action codes that differ, ``recon_mse`` [K] the tokenizer's reconstruction errors of the clips
    ``rows``; None where they were not computed. ``gain`` and ``random_gain`` say what the inference run's frames show
    better, and those of random actions worse, than the probe's; empty where chance explains it.
    """

    clips: int = 0
    rows: tuple[int, ...] = ()
    codes: float | None = None
    recon_mse: np.ndarray | None = None
    changed_clips: int = 0
    changed: float = 0.0
    repeated: float | None = None
    random: float | None = None
    past: Mapping[str, Any] | None = None
    played: Mapping[str, Any] | None = None
    gain: str = ""
    random_gain: str = ""
    problem: str = ""
    not_run: str = ""


def probed(
    probe: Probe,
    generated: GeneratedFrames,
    true_BSHWC: np.ndarray,
    episodes_B: np.ndarray,
    weights: Mapping[str, str] | None = None,
    context_BPHWC: np.ndarray | None = None,
    codes_used: int = 0,
) -> Probed:
    """Compare the frames of a probe with those of the inference run and with the true ones.

    ``weights``: stage → SHA-256 of the weights that the probe was to use; None: not compared. ``context_BPHWC``: the
    context frames, by which objects are found; None: objects are not compared. ``codes_used``: action codes in use.
    """
    if probe.not_run:
        none = {"no_occasion": probe.not_run}
        return Probed(not_run=probe.not_run, past=none, played=none)
    if probe.result is None:
        return Probed(problem=probe.problem or "the probe left no frames")
    try:
        shown = _compared(probe, probe.result, generated, true_BSHWC, episodes_B, weights, context_BPHWC)
        played = _played(probe, probe.result, generated, context_BPHWC, true_BSHWC, episodes_B, codes_used)
        return replace(shown, played=played)
    except MeasuresError as error:
        return Probed(problem=str(error))


def _compared(
    probe: Probe,
    result: ProbeResult,
    generated: GeneratedFrames,
    true_BSHWC: np.ndarray,
    episodes_B: np.ndarray,
    weights: Mapping[str, str] | None,
    context_BPHWC: np.ndarray | None,
) -> Probed:
    if weights is not None and dict(result.checkpoints) != dict(weights):
        raise MeasuresError("the probe did not load the weights that this run selected; run inference again")
    rows = np.array(probe.clips, int)
    if not len(rows):
        raise MeasuresError("the probe generated no clip; run inference again")
    predicted, own = generated.predicted[rows], _group(result, PREDICTED, generated.predicted[rows])
    shares = np.array([changed_share(one, other) for one, other in zip(own, predicted, strict=True)])
    repeated, random, true = result.frames.get(REPEATED), generated.random, true_BSHWC[rows]
    own_random = None if random is None else _group(result, RANDOM, random[rows])
    gain = error_gain(predicted, own, true)
    if not gain and shares.any() and context_BPHWC is not None:
        gain = object_gain(context_BPHWC[rows], true, predicted, own)
    if result.recon_mse is not None and result.recon_mse.shape != rows.shape:
        raise MeasuresError("the probe did not reconstruct each of its clips; run inference again")
    return Probed(
        clips=len(rows),
        rows=probe.clips,
        codes=None if result.codes is None else _codes_changed(generated, rows, result.codes),
        recon_mse=result.recon_mse,
        changed_clips=int((shares > 0).sum()),
        changed=float(shares.mean()),
        repeated=None if repeated is None else changed_share(_group(result, REPEATED, own), own),
        random=None if random is None or own_random is None else changed_share(own_random, random[rows]),
        gain=gain,
        random_gain="" if random is None or own_random is None else error_gain(own_random, random[rows], true),
        past=_past(probe, result, generated.predicted, true_BSHWC, episodes_B),
    )


def _group(result: ProbeResult, name: str, like: np.ndarray) -> np.ndarray:
    found = result.frames.get(name)
    if found is None or found.shape != like.shape:
        raise MeasuresError(f"the probe's frames {name!r} are missing or of another size; run inference again")
    return found


def _codes_changed(generated: GeneratedFrames, rows: np.ndarray, inferred_KGN: np.ndarray) -> float:
    """Return the share of the codes that were followed and are others than those inferred again."""
    followed_KGN = None if generated.codes is None else generated.codes[rows]
    if followed_KGN is None or followed_KGN.shape != inferred_KGN.shape:
        raise MeasuresError("the probe's action codes are of another shape than those that were followed")
    known_KGN = (followed_KGN != NO_CODE) | (inferred_KGN != NO_CODE)
    return float((followed_KGN != inferred_KGN)[known_KGN].mean())


def _played(
    probe: Probe,
    result: ProbeResult,
    generated: GeneratedFrames,
    context_BPHWC: np.ndarray | None,
    true_BSHWC: np.ndarray,
    episodes_B: np.ndarray,
    codes_used: int,
) -> dict[str, Any] | None:
    """Return the record of the frames of freely chosen codes; None for probes of older versions, which made none."""
    if not probe.played and PLAYED in result.frames:
        raise MeasuresError("the probe's frames of freely chosen codes belong to no clips that the journal names")
    if not probe.played or context_BPHWC is None:
        return None
    predicted = generated.predicted[np.array(probe.played, int)]
    frames = _group(result, PLAYED, predicted)
    return played_record(context_BPHWC, true_BSHWC, episodes_B, probe.played, predicted, frames, codes_used)


def _past(
    probe: Probe, result: ProbeResult, predicted_BSHWC: np.ndarray, true_BSHWC: np.ndarray, episodes_B: np.ndarray
) -> dict[str, Any]:
    """Return the record of G7: by which factor the error of a typical clip grows with the context of another clip.

    The factor is the geometric mean over clips, so that a few clips with large errors do not hide it.
    """
    clips = np.array([clip for clip, _ in probe.foreign], int)
    episodes = len(np.unique(episodes_B[clips]))
    if episodes < LEAST_EPISODES:
        what = f"clips of {episodes} episodes have a context that differs from that of another episode"
        return {"no_occasion": f"{what}, at least {LEAST_EPISODES} are needed"}
    foreign_KSHWC = _group(result, FOREIGN, true_BSHWC[clips])
    own_K, foreign_K = (
        frame_errors(frames, true_BSHWC[clips]).mean(axis=1) + ROUNDING_VARIANCE
        for frames in (predicted_BSHWC[clips], foreign_KSHWC)
    )
    growth_K = np.log(foreign_K / own_K)
    low, high = mean_interval(growth_K, episodes_B[clips])
    return {
        "no_occasion": None,
        "clips": len(clips),
        "episodes": episodes,
        "own_mse": float(own_K.mean()),
        "foreign_mse": float(foreign_K.mean()),
        "ratio": math.exp(float(growth_K.mean())),
        "ratio_low": math.exp(low),
        "ratio_high": math.exp(high),
    }


def with_probe_records(measures: GateMeasures, shown: Probed) -> GateMeasures:
    """Return the measures with the records of G7 and G5.played."""
    past, played = (None if one is None else dict(one) for one in (shown.past, shown.played))
    return replace(measures, past=past, played=played)
