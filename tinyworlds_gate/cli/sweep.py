"""`tinyworlds-gate score --sweep RUN`: score the checkpoints of a run's stage on the same clips and find the best.

The best one has the smallest error, and so the highest skill, since all are compared with the same baseline. It is
distinguishable from the last one when the 95 % interval over episodes of the difference of their errors, paired by
clip, lies above 0.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyworlds_gate.checkpoints.layout import folder_name
from tinyworlds_gate.checkpoints.resolve import resolve_checkpoint
from tinyworlds_gate.cli.score_models import ClipsToScore, cut_chosen_clips, plain, score_models, scoring_device
from tinyworlds_gate.cli.score_options import DEFAULTS, OPTION_OF_STAGE, fill_in, given_checkpoints
from tinyworlds_gate.cli.sweep_report import draw_sweep, sweep_text
from tinyworlds_gate.cli.sweep_run import SweptRun, find_run, selected
from tinyworlds_gate.errors import CheckpointError, ConfigError
from tinyworlds_gate.gate.extension import ClipMetric, load_conftest
from tinyworlds_gate.gate.measures.information import psnr_db
from tinyworlds_gate.gate.measures.intervals import mean_interval, ratio_interval
from tinyworlds_gate.names import FINAL, INVALID, STAGES
from tinyworlds_gate.run.disk import write_error

if TYPE_CHECKING:
    from tinyworlds_gate.reference.rollout.world_models import TrainedTokenizer

SWEEP_SCHEMA = 1


@dataclass(frozen=True)
class SweptCheckpoint:
    """One scored checkpoint; ``mse`` is that of generated frames, or of reconstructed ones for a tokenizer.

    The fields that only dynamics has are None for a tokenizer. ``errors`` and ``baseline`` [B] belong to the clips.
    """

    step: int
    path: str
    sha256: str
    mse: float
    mse_low: float
    mse_high: float
    psnr_db: float
    seconds: float
    skill: float | None = None
    skill_low: float | None = None
    skill_high: float | None = None
    delta_psnr_db: float | None = None
    copy_last_mse: float | None = None
    mean_frame_mse: float | None = None
    verdict: str | None = None
    sentence: str | None = None
    errors: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    baseline: np.ndarray | None = field(default=None, repr=False)

    def as_record(self) -> dict[str, Any]:
        """The part of the JSON."""
        return {key: value for key, value in asdict(self).items() if key not in ("errors", "baseline")}


def run_sweep(args: argparse.Namespace) -> int:
    """Score, draw and print; 1 when an earlier checkpoint is distinguishably better than the last, else 0.

    Raises:
        GateError: there is no such run, no valid checkpoint, or an argument is wrong; exit status 2.
    """
    result = sweep(args)
    print(json.dumps(plain(result), allow_nan=False, ensure_ascii=False) if args.json else sweep_text(result))
    return 1 if result["comparison"]["earlier_is_better"] else 0


def sweep(args: argparse.Namespace) -> dict[str, Any]:
    """The whole result as plain data; the picture is written.

    Raises:
        GateError: there is no such run, no valid checkpoint, or an argument is wrong.
    """
    stage = args.stage or "dynamics"
    run = find_run(args.sweep)
    picture = _picture_path(args, run, stage)
    present = run.checkpoints(stage)
    chosen = selected(list(present), args.every, args.at_most)
    others = _other_checkpoints(args, run, stage)
    recorded_sha256 = _fill_in_from(args, run)
    custom = load_conftest(args.conftest) if args.conftest and stage == "dynamics" else ()
    rows: list[SweptCheckpoint] = []
    broken: list[dict[str, Any]] = []
    settings: dict[str, Any] = {}
    cut: ClipsToScore | None = None
    for number, step in enumerate(chosen, 1):
        began = time.monotonic()
        try:
            trained = _load(stage, present[step], others)
        except (CheckpointError, ConfigError) as error:
            broken.append({"step": step, "path": str(present[step]), "reason": str(error)})
            _say(f"{folder_name(stage, step)} is broken and skipped ({number} of {len(chosen)}): {error}")
            continue
        if cut is None:
            cut = cut_chosen_clips(args, trained)
            _require_same_frames(args, cut, recorded_sha256)
        if stage == "dynamics":
            row, settings = _score_dynamics(args, step, trained, cut, custom, began)
        else:
            row, settings = _score_tokenizer(args, step, trained, cut, began)
        rows.append(row)
        _say(f"{folder_name(stage, step)}: MSE {row.mse:.4f}, {row.seconds:.1f} s ({number} of {len(chosen)})")
    if cut is None:
        raise CheckpointError(
            f"run {run.name}: none of its {len(broken)} checkpoints of {stage} is valid; the last one: "
            f"{broken[-1]['reason']}"
        )
    result = {
        "schema": SWEEP_SCHEMA,
        "run": run.name,
        "stage": stage,
        "checkpoints": [row.as_record() for row in rows],
        "broken": broken,
        "comparison": compare(rows, stage, cut.clips.episodes),
        "clips": {
            "count": len(cut.clips.starts),
            "episodes": len(np.unique(cut.clips.episodes)),
            "digest": cut.clips.digest,
        },
        "others": {one: str(path) for one, path in others.items()},
        "settings": settings | cut.chosen.settings,
        "notes": _notes(args, run, stage, present, rows, cut),
        "picture": str(picture),
    }
    draw_sweep(result, picture)
    return result


def compare(rows: list[SweptCheckpoint], stage: str, episodes: np.ndarray) -> dict[str, Any]:
    """The best and the last of the scored checkpoints, and the interval of the difference of their errors.

    ``distinguishable`` is None when the best is the last, or when the clips lie in one episode. A
    checkpoint whose error is not finite is never the best; any finite one is better.
    """
    last = rows[-1]
    finite = [row for row in rows if math.isfinite(row.mse)]
    if not finite:
        sentence = f"No checkpoint of {stage} has a finite error."
        return _comparison(None, last, earlier_is_better=False, sentence=sentence)
    best = min(reversed(finite), key=lambda row: row.mse)
    name = folder_name(stage, best.step)
    shown = f"Best: {name}, {_shown(best)}"
    if best is last:
        return _comparison(best, last, earlier_is_better=False, sentence=f"{shown}. It is the last one.")
    last_name = folder_name(stage, last.step)
    if not math.isfinite(last.mse):
        sentence = f"{shown}. The last one, {last_name}, has no finite error."
        return _comparison(best, last, distinguishable=True, earlier_is_better=True, sentence=sentence)
    difference = last.errors - best.errors
    low, high = mean_interval(difference, episodes)
    found: dict[str, Any] = {
        "mse_difference": last.mse - best.mse,
        "mse_difference_low": low,
        "mse_difference_high": high,
    }
    if best.baseline is not None and best.skill is not None and last.skill is not None:
        skills = ratio_interval(difference, best.baseline, episodes)
        found |= {
            "skill_difference": best.skill - last.skill,
            "skill_difference_low": skills[0],
            "skill_difference_high": skills[1],
        }
    count = len(np.unique(episodes))
    if not math.isfinite(low):
        sentence = f"{shown}. Whether it is better than the last, {last_name}, cannot be said from {count} episode(s)."
        return _comparison(best, last, earlier_is_better=False, sentence=sentence, **found)
    better = low > 0
    text = "is better than" if better else "cannot be distinguished from"
    sentence = (
        f"{shown}. It {text} the last, {last_name}: its error is smaller by {last.mse - best.mse:.2g} (95 % interval "
        f"{low:.2g} to {high:.2g}, paired over {count} episodes)."
    )
    return _comparison(best, last, distinguishable=better, earlier_is_better=better, sentence=sentence, **found)


def _comparison(best: SweptCheckpoint | None, last: SweptCheckpoint, **found: Any) -> dict[str, Any]:
    empty = dict.fromkeys(f"{what}_difference{end}" for what in ("mse", "skill") for end in ("", "_low", "_high"))
    return {"best": best.step if best else None, "last": last.step, "distinguishable": None, **empty, **found}


def _shown(row: SweptCheckpoint) -> str:
    if row.skill is None:
        return f"reconstruction MSE {row.mse:.5f} (95 % interval {row.mse_low:.5f} to {row.mse_high:.5f})"
    return f"skill {row.skill:.3f} (95 % interval {row.skill_low:.3f} to {row.skill_high:.3f}), MSE {row.mse:.4f}"


def _load(stage: str, path: Path, others: Mapping[str, Path]) -> Any:
    from tinyworlds_gate.reference.rollout.world_models import load_tokenizer, load_trained

    return load_trained({**others, stage: path}) if stage == "dynamics" else load_tokenizer(path, others)


def _score_dynamics(
    args: argparse.Namespace,
    step: int,
    trained: Any,
    cut: ClipsToScore,
    custom: tuple[ClipMetric, ...] | list[ClipMetric],
    began: float,
) -> tuple[SweptCheckpoint, dict[str, Any]]:
    result = score_models(args, trained, cut, custom)
    summary, reference = result["summary"], trained.references["dynamics"]
    keys = ("mse", "mse_low", "mse_high", "psnr_db", "skill", "skill_low", "skill_high", "delta_psnr_db")
    row = SweptCheckpoint(
        step=step,
        path=str(reference.path),
        sha256=reference.model_sha256,
        seconds=time.monotonic() - began,
        **{key: summary[key] for key in (*keys, "copy_last_mse", "mean_frame_mse")},
        verdict=result["verdict"]["verdict"],
        sentence=result["verdict"]["sentence"],
        errors=np.array([np.mean(clip["rollout_mse"]) for clip in result["clips"]]),
        baseline=np.array([np.mean(clip["copy_last_mse"]) for clip in result["clips"]]),
    )
    return row, result["settings"]


def _score_tokenizer(
    args: argparse.Namespace, step: int, trained: TrainedTokenizer, cut: ClipsToScore, began: float
) -> tuple[SweptCheckpoint, dict[str, Any]]:
    from tinyworlds_gate.reference.rollout.measure import reconstruction

    device, clips = scoring_device(args), cut.clips
    tokenizer = trained.tokenizer.to(device)
    parts = clips.frames_BTCHW[:, : clips.context + 1].split(args.batch_size)
    errors = np.concatenate([reconstruction(tokenizer, part.to(device))[1].cpu().double().numpy() for part in parts])
    low, high = mean_interval(errors, clips.episodes)
    mse, reference = float(errors.mean()), trained.references["video_tokenizer"]
    row = SweptCheckpoint(
        step=step,
        path=str(reference.path),
        sha256=reference.model_sha256,
        mse=mse,
        mse_low=low,
        mse_high=high,
        psnr_db=psnr_db(mse),
        seconds=time.monotonic() - began,
        errors=errors,
    )
    return row, clips.origin() | {"frames_of_a_clip": clips.context + 1, "device": str(device)}


def _other_checkpoints(args: argparse.Namespace, run: SweptRun, stage: str) -> dict[str, Path]:
    """The other two checkpoints; a tokenizer needs them only for sizes, so that absent ones are left out."""
    given = given_checkpoints(args)
    if stage in given:
        raise ConfigError(
            f"{OPTION_OF_STAGE[stage]} {given[stage]}: the sweep scores the {stage} checkpoints of run {run.name}; "
            "leave it out"
        )
    found: dict[str, Path] = {}
    for other in (one for one in STAGES if one != stage):
        if other in given:
            found[other] = resolve_checkpoint(given[other], other, require_optimizer=False).path
            continue
        try:
            found[other] = run.other_checkpoint(other)
        except CheckpointError as error:
            if stage == "video_tokenizer":
                continue
            raise CheckpointError(
                f"run {run.name} has no usable {other} checkpoint to score its {stage} with; name one with "
                f"{OPTION_OF_STAGE[other]} ({error})"
            ) from error
    return found


def _fill_in_from(args: argparse.Namespace, run: SweptRun) -> str | None:
    """Fill in the absent options from the run, then by default; return the SHA-256 of the run's frames if used."""
    sha256 = None
    if args.data is None:
        args.data, sha256 = run.frames()
        if args.starts is None:
            fill_in(args, run.clip_values(args.data))
    fill_in(args, run.rollout_values())
    fill_in(args, DEFAULTS)
    return sha256


def _require_same_frames(args: argparse.Namespace, cut: ClipsToScore, sha256: str | None) -> None:
    if sha256 is not None and cut.clips.data_sha256 != sha256:
        raise ConfigError(
            f"{args.data} is not the file that the run used (SHA-256 {cut.clips.data_sha256[:12]}… instead of "
            f"{sha256[:12]}…), so its held-out clips are not known; put that file back, or name another with --data"
        )


def _picture_path(args: argparse.Namespace, run: SweptRun, stage: str) -> Path:
    """Where the picture goes; checked before anything is measured."""
    path: Path = args.picture or run.folder / f"sweep_{stage}.png"
    if path.suffix.lower() != ".png":
        raise ConfigError(f"--picture {path}: the picture is a PNG; end its name in .png")
    if not path.parent.is_dir():
        raise ConfigError(f"--picture {path}: the folder {path.parent} does not exist; make it, or name another")
    if (error := write_error(path.parent)) is not None:
        raise ConfigError(f"{path} cannot be written ({error.strerror}); name another place with --picture FILE.png")
    return path


def _notes(
    args: argparse.Namespace,
    run: SweptRun,
    stage: str,
    present: Mapping[int, Path],
    rows: list[SweptCheckpoint],
    cut: ClipsToScore,
) -> list[str]:
    notes = run.notes() if stage == "dynamics" else []
    if not run.events:
        notes.append(f"{run.folder} has no journal.jsonl: clips and rollout have the defaults of score")
    if len(rows) > 1 and cut.chosen.settings.get("clip_draw") != FINAL:
        notes.append(
            "the best is chosen on these clips, so its numbers are optimistic; judge it on others "
            "(`tinyworlds-gate score … --clip-draw 2`)"
        )
    lost = run.lost_steps(stage, present)
    if lost:
        total = len(lost) + len(present)
        notes.append(
            f"{len(lost)} of {total} checkpoints of {stage} are no longer in the run (retention keeps the newest); "
            f"train with --keep-checkpoints {total} to score all"
        )
    if cut.split is None and args.stage != "video_tokenizer":
        notes.append(
            "no checkpoint records that it was trained on this file; whether one has seen these clips is not known"
        )
    invalid = {row.sentence: row.step for row in rows if row.verdict == INVALID}
    notes += [f"{folder_name(stage, step)} is {sentence}" for sentence, step in invalid.items()]
    return notes


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
