"""Measure the error rates of a comparison: on trained seeds of one recipe, and on planted regressions.

    python -m tinyworlds_gate.compare.error_rates score --runs results/A results/B … --data FRAMES.h5 --into CARDS
    python -m tinyworlds_gate.compare.error_rates rates --cards CARDS --into docs/results/compare.json

``score`` rolls out the checkpoints of every run on the same clips and writes two scorecards each: of the model, and of
the same model with its most frequent action code collapsed (the next frequent one is played in its place). Random
actions, the collapsed code and objects are measured on the first ``--part`` clips. ``rates`` compares all pairs of
models, and each model with itself after a planted regression (`rates.py`).

Axes: K clips, P context frames, S generated frames, G steps, N transitions.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from tinyworlds_gate.checkpoints.resolve import resolve_checkpoint
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.gate.measures.objects.measure import count_objects
from tinyworlds_gate.gate.measures.recomputed_errors import frame_errors
from tinyworlds_gate.gate.scorecard import ClipScore, Scorecard, digest_of, read_scorecard, rounded
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.run.atomic import atomic_write

COLLAPSED = "_collapsed"
PART = 256
"""Clips on which everything is measured; more objects at once take several GiB of memory."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; return 0, or 2 after a sentence on a mistake."""
    parser = argparse.ArgumentParser(prog="python -m tinyworlds_gate.compare.error_rates", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    score = commands.add_parser("score", help="score checkpoints on many clips")
    score.add_argument("--runs", nargs="+", type=Path, required=True, help="folders of runs, one a seed")
    score.add_argument("--data", type=Path, required=True, help="frames of episodes that no run has seen")
    score.add_argument("--clips", type=int, default=1024)
    score.add_argument("--part", type=int, default=PART, help="clips on which everything is measured")
    score.add_argument("--into", type=Path, required=True, help="folder for the scorecards")
    rates = commands.add_parser("rates", help="compare the scorecards")
    rates.add_argument("--cards", type=Path, required=True)
    rates.add_argument("--into", type=Path, required=True, help="the JSON file; a PNG with the curves goes beside it")
    rates.add_argument("--published", type=Path, help="a page whose first table has a seed and its MSE in each row")
    args = parser.parse_args(argv)
    try:
        if args.command == "score":
            for run in args.runs:
                score_run(run, args.data, args.clips, args.part, args.into)
        else:
            from tinyworlds_gate.compare.rates import measure_rates, published_pairs
            from tinyworlds_gate.compare.rates_picture import draw_rates

            found = measure_rates(read_cards(args.cards, ""), read_cards(args.cards, COLLAPSED))
            if args.published is not None:
                found["equal_recipes_published"] = published_pairs(published_errors(args.published))
            atomic_write(args.into, json.dumps(found, indent=1) + "\n")
            draw_rates(found, args.into.with_suffix(".png"))
    except GateError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def published_errors(page: Path) -> list[float]:
    """Return the errors of the seeds in the first table of a page, as docs/results/smoke.md has one."""
    table = page.read_text(encoding="utf-8").partition("| seed |")[2].partition("\n\n")[0]
    return [float(one) for one in re.findall(r"^\| \d+ \| ([\d.]+) \(", table, re.MULTILINE)]


def read_cards(folder: Path, suffix: str) -> list[Scorecard]:
    """Return the scorecards of `score`, by seed; ``suffix``: of the models themselves, or of their collapsed twins."""
    return [
        read_scorecard(path)
        for path in sorted(folder.glob("*.json"))
        if path.stem.endswith(COLLAPSED) == (suffix == COLLAPSED)
    ]


def score_run(run: Path, data: Path, clips: int, part: int, into: Path) -> None:
    """Write the two scorecards of a run's newest checkpoints; one that is there already stays."""
    from tinyworlds_gate.reference.data.clips import clip_starts
    from tinyworlds_gate.reference.data.frames_file import load_frames
    from tinyworlds_gate.reference.data.split import draw_clips
    from tinyworlds_gate.reference.rollout.measure import MeasureSettings
    from tinyworlds_gate.reference.rollout.world_models import load_trained

    began, settings, started = time.monotonic(), _settings(run), _first(run, "run_started")
    name = f"{started['profile']}_{started['seed']:02d}"
    if (into / f"{name}{COLLAPSED}.json").is_file():
        return
    paths = {
        stage: resolve_checkpoint(run / stage / "checkpoints", stage, require_optimizer=False).path for stage in STAGES
    }
    trained = load_trained(paths)
    frames = load_frames(data, frame_size=trained.sizes["dynamics"].frame_size, stride=1)
    context = int(settings["context"])
    length = context + int(settings["generation_steps"])
    admissible = clip_starts(frames, length, np.unique(frames.episode))
    starts = draw_clips(admissible, frames.episode[admissible], clips, 0)
    table = np.stack([frames.frames[start : start + length] for start in starts.tolist()])
    asked = MeasureSettings(
        generation_steps=length - context,
        decode_steps=int(settings["decode_steps"]),
        space=settings["rollout"],
        memory=settings["memory_window"],
        token_choice=settings["token_choice"],
        batch_size=64,
    )
    made = _rollouts(trained.models.eval(), table, context, part, asked)
    weights = {stage: str(one.model_sha256) for stage, one in trained.references.items()}
    who = {"seed": started["seed"], "profile": started["profile"], "commit": started["commit"]}
    for suffix, shown in (("", "predicted"), (COLLAPSED, "collapsed")):
        used = table[: len(made[shown])]
        scores = _scores(used, context, frames.episode[starts], made[shown], made["random"])
        card = Scorecard(
            name=name + suffix,
            source=None,
            settings=settings,
            clips=scores,
            strongest_baseline="last frame",
            weights=weights,
            trained=who,
        )
        atomic_write(into / f"{name}{suffix}.json", card.as_text())
    print(f"{name}: MSE {card.mse:.5f} collapsed, {time.monotonic() - began:.0f} s", flush=True)


def _settings(run: Path) -> dict[str, Any]:
    raw = json.loads(sorted(run.glob("measures_*.json"))[0].read_text(encoding="utf-8"))
    names = ("context", "generation_steps", "decode_steps", "rollout", "memory_window", "token_choice", "frame_size")
    return {name: raw[name] for name in names}


def _first(run: Path, event: str) -> dict[str, Any]:
    lines = (run / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    found: dict[str, Any] = next(one for one in map(json.loads, lines) if one["event"] == event)
    return found


def _rollouts(models: Any, table: np.ndarray, context: int, part: int, settings: Any) -> dict[str, Any]:
    """Generate the frames with inferred actions, with random ones, and with the most frequent code collapsed."""
    import torch

    from tinyworlds_gate.reference.rollout.probe import generate, infer
    from tinyworlds_gate.reference.rollout.probe_files import ProbeGroup, ProbeRequest

    device, rows = torch.device("cpu"), np.arange(len(table))
    codes, _ = infer(models, table, context, settings, device)
    used = np.bincount(codes[codes >= 0].ravel(), minlength=2)
    first, second = np.argsort(-used)[:2]
    collapsed = np.where(codes == first, second, codes).astype(codes.dtype)
    known = table[:, :context]
    groups = {
        "predicted": ProbeGroup(known, codes, rows, 0),
        "random": ProbeGroup(known[:part], None, rows[:part], 0),
        "collapsed": ProbeGroup(known[:part], collapsed[:part], rows[:part], 0),
    }
    return generate(models, ProbeRequest(groups, asdict(settings), len(table), {}, "cpu", False), device)


def _scores(
    table: np.ndarray, context: int, episodes: np.ndarray, made: np.ndarray, random: np.ndarray
) -> tuple[ClipScore, ...]:
    known, true = table[:, :context], table[:, context:]
    part = slice(0, min(len(random), len(table)))
    errors, of_random = frame_errors(made, true).mean(axis=1), np.full(len(table), math.nan)
    of_random[part] = frame_errors(random[part], true[part]).mean(axis=1)
    copied = frame_errors(np.broadcast_to(known[:, -1:], true.shape), true).mean(axis=1)
    counts = count_objects(known[part], true[part], made[part], episodes[part])[1]
    objects = [np.zeros(len(table), int) for _ in range(3)]
    for one, name in zip(objects, ("true", "found", "generated"), strict=True):
        one[part] = getattr(counts, name)
    scores = {
        (digest := digest_of(known[clip], true[clip])): ClipScore(
            digest,
            int(episodes[clip]),
            rounded(float(errors[clip])),
            rounded(float(copied[clip])),
            rounded(float(copied[clip])),
            rounded(float(of_random[clip])) if math.isfinite(of_random[clip]) else None,
            int(objects[0][clip]),
            int(objects[1][clip]),
            int(objects[2][clip]),
        )
        for clip in range(len(table))
    }
    return tuple(scores.values())


def scaled(card: Scorecard, factor: float) -> Scorecard:
    """Return a scorecard whose errors are this many times as large."""
    return replace(card, clips=tuple(replace(one, error=one.error * factor) for one in card.clips))


if __name__ == "__main__":
    sys.exit(main())
