"""Judge a try: run `tinyworlds-gate score` in the judge's process and take the score out of its JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tinyworlds_gate.budget.held_out import Clips
from tinyworlds_gate.budget.judge_code import Judge
from tinyworlds_gate.budget.settings import JudgeSettings
from tinyworlds_gate.errors import DataError, GateError
from tinyworlds_gate.names import FAIL, INVALID, PASS, STAGES
from tinyworlds_gate.reference.data.hdf5_input import open_hdf5
from tinyworlds_gate.reference.data.hdf5_output import new_hdf5

OPTIONS = dict(zip(STAGES, ("--video-checkpoint", "--latent-checkpoint", "--dynamics-checkpoint"), strict=True))
SCORE = (
    *("mse", "mse_low", "mse_high", "skill", "skill_low", "skill_high", "skill_strongest", "skill_strongest_low"),
    *("skill_strongest_high", "delta_psnr_db", "psnr_db"),
)
BASELINE = ("strongest_baseline", "strongest_baseline_mse", "copy_last_mse", "mean_frame_mse")
PROVENANCE = "C4"
"""Whether the checkpoints record what they were trained on: a note here, as the judge made the clips afterwards."""
_GENERATED = "write it as uint8 [clips, steps, height, width, 3]"


class RejectedTry(GateError):
    """A try is INVALID: it gets no score."""


@dataclass(frozen=True)
class Score:
    """What the judge found: numbers, the gate's verdict with its sentence, the weights' hashes, and notes."""

    score: dict[str, Any]
    baseline: dict[str, Any]
    verdict: str
    sentence: str
    weights: dict[str, str]
    clips: dict[str, Any]
    notes: tuple[str, ...]


def judge_checkpoints(judge: Judge, settings: JudgeSettings, weights: Path, held_out: Path, clips: Clips) -> Score:
    """Score the copied checkpoints on the clips.

    Raises:
        RejectedTry: they cannot be loaded or measured, or they are models that this judge does not measure.
        LaunchError: the judge cannot be started.
    """
    words = ["score", "--data", str(held_out), "--starts", ",".join(map(str, clips.starts.tolist())), "--json"]
    for stage, option in OPTIONS.items():
        words += [option, str(weights / stage)]
    words += ["--context", str(settings.context), "--steps", str(settings.steps), "--rollout", settings.rollout]
    words += ["--decode-steps", str(settings.decode_steps), "--token-choice", settings.token_choice]
    words += [] if settings.memory_window is None else ["--memory-window", str(settings.memory_window)]
    result = _answer(judge, [*words, "--device", settings.device], settings.timeout_s)
    _require_same_test(result["settings"], settings, clips)
    hashes = {stage: str(one["sha256"]) for stage, one in result["checkpoints"].items()}
    return _score(result, settings, clips, hashes)


def judge_frames(judge: Judge, settings: JudgeSettings, generated: Path, clips: Clips, folder: Path) -> Score:
    """Score generated frames against the judge's own context and true frames.

    Raises:
        RejectedTry: the frames are missing, malformed or not of these clips.
        LaunchError: the judge cannot be started.
    """
    true = clips.frames[:, settings.context :]
    try:
        with open_hdf5(generated, _GENERATED) as file:
            dataset = file.get("generated")
            if not isinstance(dataset, h5py.Dataset):
                raise RejectedTry(f"{generated.name} holds no dataset `generated`; {_GENERATED}")
            if dataset.shape != true.shape or dataset.dtype != np.uint8:
                raise RejectedTry(
                    f"{generated.name}: generated has the shape {list(dataset.shape or ())} and type {dataset.dtype}; "
                    f"{list(true.shape)} and uint8 are needed"
                )
            frames = dataset[:]
    except DataError as error:
        raise RejectedTry(str(error)) from error
    path = folder / "frames_of_try.h5"
    with new_hdf5(path) as output:
        file = output.file
        file["context"], file["true"] = clips.frames[:, : settings.context], true
        file["generated"], file["episode"] = frames, clips.episodes
    return _score(_answer(judge, ["score", "--frames", str(path), "--json"], settings.timeout_s), settings, clips, {})


def write_contexts(path: Path, clips: Clips, context: int) -> None:
    """Write what the command of `--predict` gets: `context` [N, C, H, W, 3], and `actions` [N, T] if recorded."""
    with new_hdf5(path) as output:
        file = output.file
        file["context"] = clips.frames[:, :context]
        file.attrs["steps"] = clips.frames.shape[1] - context
        if clips.actions is not None:
            file["actions"] = clips.actions


def _answer(judge: Judge, words: list[str], timeout_s: float) -> dict[str, Any]:
    code, printed, errors = judge.run(words, timeout_s)
    lines = printed.strip().splitlines()
    if code not in (0, 1) or not lines:
        reason = errors.rpartition("tinyworlds-gate: ")[2].strip() or f"exit code {code} without a result"
        raise RejectedTry(f"the judge could not measure it: {reason}")
    found = json.loads(lines[-1])
    if not isinstance(found, dict) or not {"summary", "verdict"} <= found.keys():
        raise RejectedTry("the judge printed no result")
    return found


def _require_same_test(measured: Mapping[str, Any], settings: JudgeSettings, clips: Clips) -> None:
    side = clips.frames.shape[2:4]
    size, actions = int(measured["frame_size"]), int(measured["n_actions"])
    if side != (size, size):
        raise RejectedTry(
            f"frame_size of the checkpoints is {size}, but the frames have {side[0]} x {side[1]} px: a smaller picture "
            "is an easier test; train on the frames as they are"
        )
    if actions > settings.most_actions:
        raise RejectedTry(
            f"n_actions of the checkpoints is {actions}; at most {settings.most_actions} are allowed (--max-actions), "
            "because a code carries what the latent-action model saw of the true next frame"
        )


def _score(result: Mapping[str, Any], settings: JudgeSettings, clips: Clips, weights: dict[str, str]) -> Score:
    summary, verdict = result["summary"], result["verdict"]
    wrong = [one["reason"] for one in verdict["conditions"] if one["verdict"] == INVALID and one["id"] != PROVENANCE]
    if wrong:
        raise RejectedTry(f"the gate's verdict is INVALID: {wrong[0]}")
    expected = {"context": settings.context, "generation_steps": settings.steps}
    differing = [f"{name} {summary.get(name)}" for name, value in expected.items() if summary.get(name) != value]
    if differing:
        raise RejectedTry(f"the judge measured with {', '.join(differing)}, which is another test than that of the try")
    score = {name: summary.get(name) for name in SCORE}
    if not all(isinstance(score[name], int | float) and math.isfinite(score[name]) for name in ("mse", "mse_high")):
        raise RejectedTry(f"the error is {score['mse']}, no finite number: the weights or frames hold NaN or infinity")
    notes = tuple(one["reason"] for one in verdict["conditions"] if one["verdict"] == INVALID)
    broken = [one["reason"] for one in verdict["conditions"] if one["verdict"] == FAIL]
    own = (FAIL, f"{FAIL}: {broken[0]}") if broken else (PASS, f"{PASS}: all conditions hold")
    decided, sentence = own if notes else (str(verdict["verdict"]), str(verdict["sentence"]))
    return Score(
        score=score,
        baseline={name: summary.get(name) for name in BASELINE},
        verdict=decided,
        sentence=sentence,
        weights=weights,
        clips={
            "count": summary["clips"],
            "episodes": summary["episodes"],
            "digest": summary["clip_digest"],
            "also_in_training": clips.dropped,
        },
        notes=notes,
    )
