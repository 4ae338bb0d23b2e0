"""The command `tinyworlds-gate score`: measure three checkpoints on a frames file, without a run.

    tinyworlds-gate score --video-checkpoint D --latent-checkpoint D --dynamics-checkpoint D --data F.h5 --json

Exit status: 0 when the verdict is PASS, 1 when it is another, 2 when the checkpoints could not be scored.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyworlds_gate.checkpoints.integrity import sha256_of
from tinyworlds_gate.checkpoints.resolve import resolve_checkpoint
from tinyworlds_gate.cli.score_clips import add_clip_arguments, chosen_clips
from tinyworlds_gate.cli.score_text import score_text
from tinyworlds_gate.config.cli_values import parse_count, parse_positive_int
from tinyworlds_gate.config.thresholds import STRICT_THRESHOLDS
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.gate.conditions import Condition
from tinyworlds_gate.gate.evidence import agreement_conditions
from tinyworlds_gate.gate.extension import load_conftest
from tinyworlds_gate.gate.measures.claims import claim_conditions
from tinyworlds_gate.gate.measures.clip_facts import ClipFacts, clip_facts
from tinyworlds_gate.gate.measures.custom import measure_custom
from tinyworlds_gate.gate.measures.recomputed_errors import recomputed
from tinyworlds_gate.gate.measures.summary import GateMeasures, summarise
from tinyworlds_gate.gate.verdict import GateVerdict, judge_measures
from tinyworlds_gate.names import INVALID, PASS
from tinyworlds_gate.reference.data.frames_file import FramesData, load_frames
from tinyworlds_gate.reference.data.split import EpisodeSplit, split_episodes

if TYPE_CHECKING:
    from tinyworlds_gate.reference.rollout.world_models import TrainedModels

SCORE_SCHEMA = 1
OPTION_OF_STAGE = {
    "video_tokenizer": "--video-checkpoint",
    "latent_actions": "--latent-checkpoint",
    "dynamics": "--dynamics-checkpoint",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    for stage, option in OPTION_OF_STAGE.items():
        parser.add_argument(
            option, required=True, type=Path, metavar="D", help=f"a {stage}_step_<n> folder, or its checkpoints/ parent"
        )
    parser.add_argument("--data", required=True, type=Path, metavar="F.h5", help="frames, uint8 [N, H, W, 3]")
    add_clip_arguments(parser)
    parser.add_argument(
        "--context", type=parse_positive_int, help="true frames given (default: one less than trained on)"
    )
    parser.add_argument("--steps", type=parse_positive_int, default=12, help="frames generated (default: %(default)s)")
    parser.add_argument(
        "--decode-steps", type=parse_positive_int, default=16, help="MaskGIT passes a frame (default: %(default)s)"
    )
    parser.add_argument(
        "--rollout",
        choices=("tokens", "pixels"),
        default="tokens",
        help="what is fed back: the tokens, or frames that are tokenised again as TinyWorlds does (default: tokens)",
    )
    parser.add_argument(
        "--memory-window",
        type=parse_positive_int,
        metavar="N",
        help="frames that a step sees at most, true and generated ones (default: --context, as TinyWorlds does)",
    )
    parser.add_argument(
        "--token-choice",
        choices=("likeliest", "nearest_mean", "mean"),
        default="likeliest",
        help="what is taken: the likeliest token, the nearest to the predicted mean, or that mean (default: likeliest)",
    )
    parser.add_argument(
        "--stride", type=parse_positive_int, default=1, help="take every n-th frame (ZELDA: 4; default: 1)"
    )
    parser.add_argument(
        "--batch-size", type=parse_positive_int, default=16, help="clips at once (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=parse_count, default=0, help="of random actions and intervals (default: %(default)s)"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto")
    parser.add_argument("--tf32", action="store_true", help="TF32 matrix products on CUDA: faster, rounded")
    parser.add_argument(
        "--max-mse",
        type=_error,
        default=STRICT_THRESHOLDS.max_mse,
        help="largest error that passes (default: %(default)s)",
    )
    parser.add_argument(
        "--conftest",
        type=Path,
        metavar="FILE",
        help="a Python file of yours with conditions and metrics to add (docs/extending.md); it is executed",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")


def run(args: argparse.Namespace) -> int:
    """Score and print; 0 when the verdict is PASS, else 1.

    Raises:
        GateError: a checkpoint, the frames or an argument is wrong; exit status 2.
    """
    result = score(args)
    print(json.dumps(plain(result), allow_nan=False, ensure_ascii=False) if args.json else score_text(result))
    return 0 if result["verdict"]["verdict"] == PASS else 1


def score(args: argparse.Namespace) -> dict[str, Any]:
    """The whole result as plain data: clips, summary, verdict, and what was scored.

    Raises:
        GateError: a checkpoint, the frames or an argument is wrong.
    """
    import torch

    from tinyworlds_gate.reference.rollout.clip_set import cut_clips
    from tinyworlds_gate.reference.rollout.measure import MeasureSettings, measure_clips
    from tinyworlds_gate.reference.rollout.world_models import load_trained
    from tinyworlds_gate.reference.training.distributed import choose_device

    custom = load_conftest(args.conftest) if args.conftest else ()
    paths = {
        stage: resolve_checkpoint(getattr(args, option[2:].replace("-", "_")), stage, require_optimizer=False).path
        for stage, option in OPTION_OF_STAGE.items()
    }
    trained = load_trained(paths)
    sizes = trained.sizes["dynamics"]
    context = args.context or sizes.context_length - 1
    if not 1 <= context < sizes.context_length:
        raise ConfigError(
            f"--context {context}: the models were trained on {sizes.context_length} frames; 1 to "
            f"{sizes.context_length - 1} of them can be given"
        )
    if args.memory_window is not None and not context <= args.memory_window < sizes.context_length:
        raise ConfigError(
            f"--memory-window {args.memory_window}: it holds the {context} context frames at least; models were "
            f"trained on {sizes.context_length}; {context} to {sizes.context_length - 1} are allowed"
        )
    data_sha256 = sha256_of(args.data) if args.data.is_file() else ""
    data = load_frames(args.data, frame_size=sizes.frame_size, stride=args.stride)
    split = _recorded_split(trained, data, data_sha256)
    chosen = chosen_clips(args, data, context + args.steps, split)
    everything = tuple(int(one) for one in np.unique(data.episode))
    clips = cut_clips(
        data,
        chosen.starts,
        context + args.steps,
        context=context,
        data_sha256=data_sha256,
        mean_over=split.train if split else everything,
    )
    device = choose_device(args.device, 0)
    torch.set_float32_matmul_precision("high" if args.tf32 else "highest")
    settings = MeasureSettings(
        generation_steps=args.steps,
        decode_steps=args.decode_steps,
        space=args.rollout,
        memory=args.memory_window,
        token_choice=args.token_choice,
        batch_size=args.batch_size,
        seed=args.seed,
    )
    models = trained.models.to(device).eval()
    began = time.monotonic()
    measured = measure_clips(models, clips, settings, device)
    raw = measured.raw
    raw["seconds"] = time.monotonic() - began
    facts = clip_facts(raw, Path.cwd())
    measures = summarise(raw, facts)
    claims = claim_conditions(raw, facts, recomputed(measured.generated, facts.true_BSHWC))
    others = [*agreement_conditions(trained.references, {}), *_trained_on_them(trained, clips.episodes, split), *claims]
    thresholds = STRICT_THRESHOLDS.model_copy(update={"max_mse": args.max_mse})
    results = measure_custom(custom, facts, measured.generated, "", args.seed)
    verdict = judge_measures(measures, thresholds, others, results)
    return _result(raw | chosen.settings, facts, measures, verdict, trained, split)


def _result(
    raw: dict[str, Any],
    facts: ClipFacts | None,
    measures: GateMeasures,
    verdict: GateVerdict,
    trained: TrainedModels,
    split: EpisodeSplit | None,
) -> dict[str, Any]:
    clips = [dict(clip) for clip in raw["clips"]]
    if facts is not None and facts.memory is not None:
        for number, clip in enumerate(clips):
            clip["memory_sharp_mse"] = facts.memory.sharp_BS[number].tolist()
            clip["memory_hedged_mse"] = facts.memory.hedged_BS[number].tolist()
    notes = []
    if split is None:
        notes.append(
            "no checkpoint records that it was trained on this file; whether one has seen these clips is not known"
        )
    return {
        "schema": SCORE_SCHEMA,
        "clips": clips,
        "summary": measures.as_dict(),
        "verdict": verdict.as_event(),
        "checkpoints": {
            stage: {"path": str(one.path), "step": one.step, "sha256": one.model_sha256}
            for stage, one in trained.references.items()
        },
        "settings": {
            key: value
            for key, value in raw.items()
            if key not in ("clips", "schema", "token_counts", "generated_token_counts", "seconds")
        },
        "notes": notes,
    }


def _recorded_split(trained: TrainedModels, data: FramesData, data_sha256: str) -> EpisodeSplit | None:
    """The split of this file that a checkpoint was trained with; None when none was trained on it."""
    from tinyworlds_gate.reference.rollout.clip_set import recorded_splits

    for recorded in recorded_splits(trained, data_sha256).values():
        if "held_out_fraction" in recorded and "split_seed" in recorded:
            return split_episodes(data.episode, float(recorded["held_out_fraction"]), int(recorded["split_seed"]))
    return None


def _trained_on_them(trained: TrainedModels, episodes: np.ndarray, split: EpisodeSplit | None) -> list[Condition]:
    if split is None:
        return []
    seen = int(np.isin(episodes, split.train).sum())
    if not seen:
        return []
    return [
        Condition(
            "G5.held_out",
            INVALID,
            f"{seen} of {len(episodes)} clips lie in episodes that these checkpoints were trained on; leave --starts "
            "out to draw from the others",
        )
    ]


def plain(value: Any) -> Any:
    """Numbers that are not finite as None: missing data is null in JSON, never NaN."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _error(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no error; give a number above 0, like 0.03")
    return value
