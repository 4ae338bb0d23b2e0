"""Measure and judge three checkpoints on chosen clips: once for `score`, for each checkpoint for `score --sweep`."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyworlds_gate.checkpoints.integrity import sha256_of
from tinyworlds_gate.cli.score_clips import ChosenClips, chosen_clips
from tinyworlds_gate.cli.score_options import wants_scorecard
from tinyworlds_gate.config.thresholds import STRICT_THRESHOLDS
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.gate.conditions import Condition
from tinyworlds_gate.gate.evidence import agreement_conditions
from tinyworlds_gate.gate.extension import ClipMetric
from tinyworlds_gate.gate.measures.baselines import TrainingFrames
from tinyworlds_gate.gate.measures.claims import claim_conditions
from tinyworlds_gate.gate.measures.clip_facts import ClipFacts, clip_facts
from tinyworlds_gate.gate.measures.custom import measure_custom
from tinyworlds_gate.gate.measures.frame_measures import measured_frames
from tinyworlds_gate.gate.measures.probe import Probe, Probed, probed, with_probe_records
from tinyworlds_gate.gate.measures.probe_plan import plan_probe
from tinyworlds_gate.gate.measures.recomputed_errors import recomputed
from tinyworlds_gate.gate.measures.summary import GateMeasures, summarise
from tinyworlds_gate.gate.scorecard import Scorecard, clip_scores, measuring_settings
from tinyworlds_gate.gate.verdict import GateVerdict, judge_measures
from tinyworlds_gate.loop.provenance import FramesAtHand, TrainedOn, frames_of_data, trained_on
from tinyworlds_gate.loop.screened_clips import codes_of_clips, measured_unseen
from tinyworlds_gate.names import INVALID
from tinyworlds_gate.reference.data.frame_codes import KnownFrames
from tinyworlds_gate.reference.data.frames_file import FramesData, load_frames
from tinyworlds_gate.reference.data.split import EpisodeSplit, split_episodes
from tinyworlds_gate.reference.rollout.generated_frames import GeneratedFrames
from tinyworlds_gate.reference.rollout.probe_files import ProbeRequest, ProbeResult

if TYPE_CHECKING:
    import torch

    from tinyworlds_gate.reference.rollout.clip_set import ClipSet
    from tinyworlds_gate.reference.rollout.measure import MeasureSettings
    from tinyworlds_gate.reference.rollout.world_models import TrainedModels, TrainedTokenizer

SCORE_SCHEMA = 1


@dataclass(frozen=True)
class ClipsToScore:
    """The cut clips, how they were chosen, and the recorded split of their file (None: no checkpoint records it)."""

    clips: ClipSet
    chosen: ChosenClips
    split: EpisodeSplit | None
    data: FramesData
    known: KnownFrames
    """Codes of all frames of the file."""


def cut_chosen_clips(args: argparse.Namespace, trained: TrainedModels | TrainedTokenizer) -> ClipsToScore:
    """Load the frames file and cut the clips that the arguments choose.

    Raises:
        ConfigError: the context or the memory window does not fit the models.
        DataError: the frames are missing or damaged, or do not hold these clips.
    """
    from tinyworlds_gate.reference.rollout.clip_set import cut_clips

    sizes = trained.sizes.get("dynamics") or trained.sizes["video_tokenizer"]
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
    return ClipsToScore(clips, chosen, split, data, frames_of_data(data))


def scoring_device(args: argparse.Namespace) -> torch.device:
    """Return the device of the arguments, with the precision of matrix products set."""
    import torch

    from tinyworlds_gate.reference.training.distributed import choose_device

    torch.set_float32_matmul_precision("high" if args.tf32 else "highest")
    return choose_device(args.device, 0)


def score_models(
    args: argparse.Namespace, trained: TrainedModels, cut: ClipsToScore, custom: Sequence[ClipMetric] = ()
) -> dict[str, Any]:
    """The whole result as plain data: clips, summary, verdict, and what was scored.

    Raises:
        GateError: a measure is impossible.
    """
    from tinyworlds_gate.reference.rollout.measure import MeasureSettings, measure_clips

    device = scoring_device(args)
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
    measured = measure_clips(models, cut.clips, settings, device)
    raw = measured.raw
    raw["seconds"] = time.monotonic() - began
    known = None if cut.split is None else TrainingFrames(cut.clips.data_path, cut.split.train, cut.clips.stride)
    facts = clip_facts(raw, Path.cwd(), known)
    measures = summarise(raw, facts)
    measures, objects = measured_frames(measures, facts, measured.generated.predicted)
    shown = _probed(measured.generated, facts, raw, settings, trained, args, device, measures.action_codes_used)
    measures = with_probe_records(measures, shown)
    made = recomputed(measured.generated, facts.true_BSHWC)
    claims = claim_conditions(raw, facts, made, probe=shown)
    at_hand = FramesAtHand(cut.data, cut.clips.data_sha256, cut.known)
    frames = trained_on(Path.cwd(), at_hand, trained.references, [])
    codes = codes_of_clips(np.concatenate([facts.context_BPHWC, facts.true_BSHWC], axis=1))
    unseen = measured_unseen(codes, frames.sources, frames.unknown, cut.known, episode=cut.clips.episodes)
    seen = [*_trained_on_them(cut.clips.episodes, cut.split), unseen]
    others = [*agreement_conditions(trained.references, {}), *seen, *claims]
    thresholds = STRICT_THRESHOLDS.model_copy(update={"max_mse": args.max_mse})
    results = measure_custom(custom, facts, measured.generated, "")
    verdict = judge_measures(measures, thresholds, others, results)
    result = _result(raw | cut.chosen.settings, facts, measures, verdict, trained, cut.split, frames)
    if wants_scorecard(args):
        weights = {stage: one.model_sha256 for stage, one in trained.references.items()}
        result["scorecard"] = Scorecard(
            name=", ".join(one.path.name for one in trained.references.values()),
            source=None,
            settings=measuring_settings(raw | cut.chosen.settings),
            clips=clip_scores(facts, made, objects),
            strongest_baseline=facts.baselines.strongest,
            weights={stage: digest for stage, digest in weights.items() if digest is not None},
            frames_per_s=round(len(raw["clips"]) * args.steps / raw["seconds"], 2) if raw["seconds"] else None,
            kinds=tuple(what for what, _, _ in objects.kinds),
        )
    return result


def _probed(
    generated: GeneratedFrames,
    facts: ClipFacts,
    raw: dict[str, Any],
    settings: MeasureSettings,
    trained: TrainedModels,
    args: argparse.Namespace,
    device: torch.device,
    codes_used: int,
) -> Probed:
    """Generate clips chosen at random again from context and actions alone, in this process."""
    from tinyworlds_gate.reference.rollout.probe import generate

    asked = asdict(settings)
    plan = plan_probe(raw, generated, facts.context_BPHWC, facts.episodes, asked, np.random.default_rng())
    digests = {stage: one.model_sha256 for stage, one in trained.references.items()}
    request = ProbeRequest(plan.groups, asked, len(raw["clips"]), {}, str(device), args.tf32)
    result = ProbeResult(generate(trained.models, request, device), digests)
    probe = Probe(result, plan.clips, plan.foreign, played=plan.played)
    clips = facts.true_BSHWC, facts.episodes, None, facts.context_BPHWC
    return probed(probe, generated, *clips, codes_used)


def _result(
    raw: dict[str, Any],
    facts: ClipFacts | None,
    measures: GateMeasures,
    verdict: GateVerdict,
    trained: TrainedModels,
    split: EpisodeSplit | None,
    frames: TrainedOn,
) -> dict[str, Any]:
    clips = [dict(clip) for clip in raw["clips"]]
    if facts is not None and facts.memory is not None:
        for number, clip in enumerate(clips):
            clip["memory_sharp_mse"] = facts.memory.sharp_BS[number].tolist()
            clip["memory_hedged_mse"] = facts.memory.hedged_BS[number].tolist()
    notes = []
    if split is None and frames.unknown:
        notes.append(
            "no checkpoint records that it was trained on this file; whether one has seen these clips is not known"
        )
    return {
        "schema": SCORE_SCHEMA,
        "clips": clips,
        "summary": measures.as_dict(),
        "verdict": verdict.as_event(),
        "checkpoints": {
            stage: {
                "path": str(one.path),
                "step": one.step,
                "sha256": one.model_sha256,
                "trained_on": frames.texts[stage],
            }
            for stage, one in trained.references.items()
        },
        "settings": {
            key: value
            for key, value in raw.items()
            if key not in ("clips", "schema", "token_counts", "generated_token_counts", "seconds")
        },
        "notes": notes,
    }


def _recorded_split(
    trained: TrainedModels | TrainedTokenizer, data: FramesData, data_sha256: str
) -> EpisodeSplit | None:
    """The split of this file that a checkpoint was trained with; None when none was trained on it."""
    from tinyworlds_gate.reference.rollout.clip_set import recorded_splits

    for recorded in recorded_splits(trained, data_sha256).values():
        if "held_out_fraction" in recorded and "split_seed" in recorded:
            return split_episodes(data.episode, float(recorded["held_out_fraction"]), int(recorded["split_seed"]))
    return None


def _trained_on_them(episodes: np.ndarray, split: EpisodeSplit | None) -> list[Condition]:
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
