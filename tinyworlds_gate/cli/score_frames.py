"""`tinyworlds-gate score --frames FILE.h5[::GROUP]`: judge frames that any model generated, without its weights.

The file or group has `context` [N, C, H, W, 3], `true` [N, S, H, W, 3] and `generated` [N, S, H, W, 3], uint8, or
floats in [0, 1]; optionally `episode` [N] and `objects` (docs/score.md).
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tinyworlds_gate.checkpoints.integrity import sha256_of
from tinyworlds_gate.cli.score_options import DEFAULTS, OPTION_OF_STAGE, wants_scorecard
from tinyworlds_gate.config.thresholds import STRICT_THRESHOLDS
from tinyworlds_gate.errors import ConfigError, DataError
from tinyworlds_gate.gate.conditions import Condition
from tinyworlds_gate.gate.extension import ClipMetric
from tinyworlds_gate.gate.measures.baselines import baselines
from tinyworlds_gate.gate.measures.clip_copies import find_copies
from tinyworlds_gate.gate.measures.clip_facts import ClipFacts
from tinyworlds_gate.gate.measures.custom import measure_custom
from tinyworlds_gate.gate.measures.frame_measures import measured_frames
from tinyworlds_gate.gate.measures.future_in_context import future_in_context
from tinyworlds_gate.gate.measures.recomputed_errors import frame_errors, recomputed
from tinyworlds_gate.gate.measures.summary import GateMeasures, summarise
from tinyworlds_gate.gate.scorecard import Scorecard, clip_scores, measuring_settings
from tinyworlds_gate.gate.verdict import UNCHECKED, judge_measures
from tinyworlds_gate.names import EVERYTHING, NOT_RUN
from tinyworlds_gate.reference.data.frame_objects import OBJECT_IN_CLIP
from tinyworlds_gate.reference.data.frames_file import SHOWN_NAMES, read_stored
from tinyworlds_gate.reference.data.hdf5_input import open_hdf5
from tinyworlds_gate.reference.data.memory_limit import require_memory
from tinyworlds_gate.reference.data.split import clip_digest
from tinyworlds_gate.reference.rollout.generated_frames import GeneratedFrames

FRAMES_SCHEMA = 1
SEPARATOR = "::"
NEEDED = "name an HDF5 file with context, true and generated"
LEAST_SIDE = 2
"""Pixels; a single row shows no motion."""
COPIES = 3
"""Of all frames, at most, while they are converted and measured."""
WHITE = 255.0
NO_ACTIONS = "no occasion: the frames come without the model's actions"
NO_WEIGHTS = "no occasion: without the model no frames can be generated from the context of another clip"
FRAMES_OPTIONS = ("frames", "json", "conftest", "max_mse", "picture", "command", "scorecard")
"""Options that have a meaning beside --frames."""
CLIP_FIELDS = OBJECT_IN_CLIP.names or ()


@dataclass(frozen=True)
class GivenFrames:
    """What a file holds: uint8 frames, the episode of each clip, and the labelled objects or None."""

    context: np.ndarray
    true: np.ndarray
    generated: np.ndarray
    episodes: np.ndarray
    objects: np.ndarray | None
    has_episodes: bool


def require_only_frames(args: argparse.Namespace) -> None:
    """Refuse options that mean nothing beside --frames.

    Raises:
        ConfigError: one is given.
    """
    names = [option[2:].replace("-", "_") for option in OPTION_OF_STAGE.values()]
    names += ["data", "sweep", "stage", "every", "at_most", "starts", "clips", "clip_seed", "clip_draw"]
    names += ["context", "memory_window", *(name for name in DEFAULTS if name not in FRAMES_OPTIONS)]
    given = ["--" + name.replace("_", "-") for name in names if getattr(args, name, None) is not None]
    if given:
        raise ConfigError(
            f"{', '.join(given)} beside --frames {args.frames}: the frames are judged as they are; leave it out"
        )
    if args.picture is not None and args.picture.suffix.lower() != ".png":
        raise ConfigError(f"--picture {args.picture}: the picture is a PNG; end its name in .png")


def score_frames(args: argparse.Namespace, custom: Sequence[ClipMetric] = ()) -> dict[str, Any]:
    """The whole result as plain data; the picture is written where one is named.

    Raises:
        DataError: the file, the group or a dataset is not usable, or the context holds the true frames.
        ConfigError: an option has no meaning here, or the picture cannot be written.
    """
    require_only_frames(args)
    path, group = split_name(args.frames)
    began = time.monotonic()
    given, notes = _distinct(_read_honest(path, group))
    facts, raw = _facts(path, given)
    measures = _without_actions(summarise(raw, facts))
    measures, objects = measured_frames(measures, facts, given.generated)
    measures = replace(measures, seconds=time.monotonic() - began)
    thresholds = STRICT_THRESHOLDS.model_copy(
        update={
            "max_mse": STRICT_THRESHOLDS.max_mse if args.max_mse is None else args.max_mse,
            "min_delta_psnr_db": None,
            "min_action_codes": None,
            "min_past_ratio": None,
        }
    )
    others = [Condition(f"G5.{name}", NOT_RUN, NO_ACTIONS) for name in ("control", "codes", "played", "true_actions")]
    others.append(Condition("G7", NOT_RUN, NO_WEIGHTS))
    frames = GeneratedFrames(given.generated)
    verdict = judge_measures(measures, thresholds, others, measure_custom(custom, facts, frames, ""), draw=UNCHECKED)
    if not given.has_episodes:
        notes.append("the file has no `episode`: each clip counts as an episode of its own")
    digest = sha256_of(path)
    result: dict[str, Any] = {
        "schema": FRAMES_SCHEMA,
        "summary": measures.as_dict(),
        "verdict": verdict.as_event(),
        "frames": {"path": str(path), "group": group or "/", "sha256": digest},
        "notes": notes,
    }
    if wants_scorecard(args):
        made = recomputed(GeneratedFrames(given.generated), given.true)
        result["scorecard"] = Scorecard(
            name=args.frames,
            source=f"frames {digest} {group or '/'}",
            settings=measuring_settings(
                {**raw, "frame_size": int(given.true.shape[2]), "seed": None, "n_actions": None}
            ),
            clips=clip_scores(facts, made, objects),
            strongest_baseline=facts.baselines.strongest,
            kinds=tuple(what for what, _, _ in objects.kinds),
        )
    if args.picture is not None:
        _draw(result, given, args.picture)
    return result


def _read_honest(path: Path, group: str) -> GivenFrames:
    given = read_given_frames(path, group)
    leak = future_in_context(given.context, given.true)
    if leak is not None:
        raise DataError(
            f"{path}: the context holds what was to be predicted: {leak}. Cut the clips again: `true` begins with the "
            "frame after the last one of `context`"
        )
    return given


def split_name(name: str) -> tuple[Path, str]:
    """`FILE.h5::GROUP` as the file and the group; the group is empty for the whole file."""
    file, _, group = name.partition(SEPARATOR)
    return Path(file), group.strip("/")


def read_given_frames(path: Path, group: str) -> GivenFrames:
    """Read and check a file of context, true and generated frames.

    ``group`` names a group with the three datasets, or a dataset or group of generated frames inside `generated`
    (`generated/exact`), whose context and true frames lie above it.

    Raises:
        DataError: something is missing or malformed; one sentence.
    """
    with open_hdf5(path, NEEDED, needed="frames file (HDF5)") as file:
        return _read(path, file, group)


def _read(path: Path, file: h5py.File, group: str) -> GivenFrames:
    found = _sources(file)
    if group and group not in found:
        raise DataError(f"--frames {path}{SEPARATOR}{group}: no such group; {_choice(found)}")
    if not group and "" not in found:
        if any("/" in one or one for one in found):
            raise DataError(f"--frames {path}: it holds several generated rollouts; {_choice(found)}")
        missing = [name for name in ("context", "true", "generated") if not isinstance(file.get(name), h5py.Dataset)]
        raise DataError(f"{path}: no dataset {' and no '.join(missing)}; context, true and generated are needed")
    home, generated = found[group]
    size = sum(one.nbytes for one in (home["context"], home["true"], generated))
    require_memory(size * COPIES, f"{path}: its frames with their measures", NEEDED)
    where = f"{path}{SEPARATOR}{group}" if group else str(path)
    context, true = (_frames(where, name, home[name]) for name in ("context", "true"))
    made = _frames(where, generated.name.strip("/"), generated)
    if made.shape != true.shape:
        raise DataError(
            f"{where}: generated has the shape {list(made.shape)} and true {list(true.shape)}; they must be equal"
        )
    if context.shape[0] != true.shape[0] or context.shape[2:] != true.shape[2:]:
        raise DataError(
            f"{where}: context has {context.shape[0]} clips of {context.shape[2]} x {context.shape[3]} px and true "
            f"{true.shape[0]} of {true.shape[2]} x {true.shape[3]} px; they must be equal"
        )
    episodes = np.arange(len(true)) if "episode" not in home else _episodes(where, home["episode"], len(true))
    objects = None if "objects" not in home else _objects(where, home["objects"], true.shape[:2])
    return GivenFrames(context, true, made, episodes, objects, "episode" in home)


def _distinct(given: GivenFrames) -> tuple[GivenFrames, list[str]]:
    """Count a clip that the file repeats once, with its worst generated frames; and what was left out, as sentences."""
    copies, notes = find_copies(given.context, given.true, given.episodes), list[str]()
    mse_N = frame_errors(given.generated, given.true).mean(axis=1)
    worst = {int(first): int(clip) for clip in np.argsort(mse_N) for first in [copies.copy_of[clip]]}
    kept = np.array(sorted(worst.values()))
    if len(kept) < len(mse_N):
        repeated = np.flatnonzero(copies.copy_of != np.arange(len(mse_N)))
        notes.append(
            f"{len(repeated)} of {len(mse_N)} clips repeat the true frames of another clip (clip {repeated[0]} those "
            f"of clip {copies.copy_of[repeated[0]]}): they are counted once, with the frames of the largest error"
        )
    labels, merged = len(np.unique(given.episodes[kept])), len(np.unique(copies.episodes[kept]))
    if merged < labels:
        notes.append(
            f"clips of {labels} episodes share their future or half of their frames, so they count as {merged} "
            "independent episodes"
        )
    objects = given.objects
    if objects is not None:
        objects = objects[np.isin(objects["clip"], kept)].copy()
        objects["clip"] = np.searchsorted(kept, objects["clip"])
    context, true, generated = (one[kept] for one in (given.context, given.true, given.generated))
    return GivenFrames(context, true, generated, copies.episodes[kept], objects, given.has_episodes), notes


def _sources(file: h5py.File) -> dict[str, tuple[h5py.Group, h5py.Dataset]]:
    """Name → (the group of context and true, the generated frames) of everything that the file can be judged on."""
    homes: list[h5py.Group] = [file]
    file.visititems(lambda _, one: homes.append(one) if isinstance(one, h5py.Group) else None)
    found = {}
    for home in homes:
        if not all(isinstance(home.get(name), h5py.Dataset) for name in ("context", "true")):
            continue
        generated, prefix = home.get("generated"), home.name.strip("/")
        if isinstance(generated, h5py.Dataset):
            found[prefix] = (home, generated)
        elif isinstance(generated, h5py.Group):
            for name, one in generated.items():
                if isinstance(one, h5py.Dataset):
                    found[f"{prefix}/generated/{name}".strip("/")] = (home, one)
    return found


def _choice(found: Sequence[str] | dict[str, Any]) -> str:
    names = [name[:80] for name in found if name][:SHOWN_NAMES]
    return f"choose one of {', '.join(SEPARATOR + name for name in names)}" if names else "the file has no group"


def _frames(where: str, name: str, dataset: h5py.Dataset) -> np.ndarray:
    """A dataset of frames as uint8 [N, T, H, W, 3]."""
    shape = dataset.shape
    if shape is None or len(shape) != 5 or shape[-1] != 3:
        raise DataError(
            f"{where}: {name} has the shape {list(shape or ())}; [clips, frames, height, width, 3] is needed"
        )
    if 0 in shape:
        raise DataError(f"{where}: {name} has the shape {list(shape)}, so there is nothing to judge")
    if min(shape[2:4]) < LEAST_SIDE:
        raise DataError(f"{where}: {name} has frames of {shape[2]} x {shape[3]} px; {LEAST_SIDE} px a side are needed")
    kind = dataset.dtype.kind
    if dataset.dtype != np.uint8 and kind != "f":
        raise DataError(f"{where}: {name} has the type {dataset.dtype}; uint8, or floats in [0, 1], are needed")
    values = read_stored(dataset.parent, dataset.name.rpartition("/")[2], Path(where), NEEDED)
    if kind != "f":
        return values
    if not np.isfinite(values).all():
        raise DataError(f"{where}: {name} holds NaN or infinity; frames are numbers in [0, 1]")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        raise DataError(f"{where}: {name} holds {low:g} to {high:g}; floats must be in [0, 1], or write uint8")
    return np.rint(values.astype(np.float32) * WHITE).astype(np.uint8)


def _episodes(where: str, dataset: h5py.Dataset, clips: int) -> np.ndarray:
    if not isinstance(dataset, h5py.Dataset):
        raise DataError(f"{where}: episode is no dataset; one whole number for each clip is needed")
    if dataset.shape != (clips,) or dataset.dtype.kind not in "iu":
        raise DataError(
            f"{where}: episode has the shape {list(dataset.shape or ())} and type {dataset.dtype}; one whole number "
            f"for each of the {clips} clips is needed"
        )
    return np.asarray(read_stored(dataset.parent, "episode", Path(where), NEEDED), np.int64)


def _objects(where: str, dataset: h5py.Dataset, shape: tuple[int, int]) -> np.ndarray:
    if not isinstance(dataset, h5py.Dataset) or set(dataset.dtype.names or ()) != set(CLIP_FIELDS):
        raise DataError(f"{where}: objects must be a table with the fields {', '.join(CLIP_FIELDS)} (docs/score.md)")
    kinds = {name: dataset.dtype[name].kind for name in CLIP_FIELDS}
    if dataset.ndim != 1 or kinds.pop("kind") != "S" or not set(kinds.values()) <= set("iuf"):
        raise DataError(
            f"{where}: objects has the shape {list(dataset.shape or ())} and type {dataset.dtype}; a table [M] of "
            "numbers, and of bytes for `kind`, is needed (docs/score.md)"
        )
    values = read_stored(dataset.parent, "objects", Path(where), NEEDED)
    for kind in np.unique(values["kind"]).tolist():
        try:
            kind.decode()
        except UnicodeDecodeError as error:
            raise DataError(
                f"{where}: objects has the kind {kind!r}, which is no UTF-8 text; write kinds as UTF-8, and the field "
                "as wide as the longest of them"
            ) from error
    for name in kinds:
        if not np.isfinite(values[name]).all():
            raise DataError(f"{where}: objects has a {name} that is no finite number")
    for name, limit in zip(("clip", "step"), shape, strict=True):
        wrong = values[name][(values[name] < 0) | (values[name] >= limit)]
        if len(wrong):
            raise DataError(f"{where}: objects has the {name} {wrong[0]}; 0 to {limit - 1} are allowed")
    table = np.empty(values.shape, OBJECT_IN_CLIP)
    for name in CLIP_FIELDS:
        table[name] = values[name]
    return table


def _facts(path: Path, given: GivenFrames) -> tuple[ClipFacts, dict[str, Any]]:
    """The clips as the gate's measures take them."""
    context, true = given.context, given.true
    count, steps = true.shape[:2]
    starts = np.arange(count)
    mean = np.stack([clip.mean(axis=0, dtype=np.float64) for clip in true]).mean(axis=0)
    errors = {name: np.empty((count, steps)) for name in ("rollout_mse", "copy_last_mse", "mean_frame_mse")}
    for clip in range(count):
        for name, other in zip(errors, (given.generated[clip], context[clip, -1], mean), strict=True):
            errors[name][clip] = np.square(other - true[clip].astype(np.float64)).mean(axis=(1, 2, 3)) / WHITE**2
    digest = clip_digest(np.concatenate([context, true], axis=1), starts)
    facts = ClipFacts(
        file=path.name,
        clip_digest=digest,
        true_BSHWC=true,
        context_BPHWC=context,
        episodes=given.episodes,
        copy_last_mse_BS=errors["copy_last_mse"],
        memory=None,
        memory_note="the frames come without player_position",
        true_actions=None,
        displacements=None,
        baselines=baselines(context, true, given.episodes, None),
        objects=given.objects,
    )
    clips = [
        {
            "start": clip,
            "episode": int(given.episodes[clip]),
            "latent_actions": [[0]] * steps,
            "random_action_mse": [math.nan] * steps,
            "tokenizer_recon_mse": math.nan,
            **{name: table[clip].tolist() for name, table in errors.items()},
        }
        for clip in range(count)
    ]
    run = {"clip_digest": digest, "context": context.shape[1], "generation_steps": steps, "n_actions": 1, "seed": 0}
    return facts, {"clips": clips, "teacher_forced": False, **run}


def _without_actions(measures: GateMeasures) -> GateMeasures:
    return replace(
        measures,
        action_codes_used=0,
        action_entropy_nats=math.nan,
        action_shares=None,
        actions=None,
        random_action_mse_by_step=None,
        prediction_horizon=None,
    )


def _draw(result: dict[str, Any], given: GivenFrames, path: Path) -> None:
    from tinyworlds_gate.cli.score_models import plain
    from tinyworlds_gate.reports.verdict_picture.data import chosen_clips, make_strip, verdict_view
    from tinyworlds_gate.reports.verdict_picture.figure import save_picture

    mse_BS = np.square(given.generated.astype(np.float32) - given.true).mean(axis=(2, 3, 4)) / WHITE**2
    strips = [
        make_strip(
            rank,
            {"start": index, "episode": given.episodes[index]},
            mse_BS[index],
            mse_BS[index],
            np.concatenate([given.context[index], given.true[index]]),
            given.generated[index],
            given.context.shape[1],
        )
        for rank, index in chosen_clips(mse_BS.mean(axis=1).tolist(), [False] * len(mse_BS))
    ]
    event = plain({**result["verdict"], "measures": result["summary"], "attempt": 1, "draw": EVERYTHING})
    name = Path(result["frames"]["path"]).name
    group = result["frames"]["group"]
    view = verdict_view(event, name if group == "/" else f"{name}{SEPARATOR}{group}", None, strips, "")
    cards = [card for card in view.cards if card.name not in ("random actions cost", "action codes in use")]
    try:
        save_picture(replace(view, control=None, cards=cards), path)
    except OSError as error:
        raise ConfigError(f"--picture {path}: it cannot be written ({error.strerror}); name another place") from error
