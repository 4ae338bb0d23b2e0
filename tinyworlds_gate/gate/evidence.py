"""What the files of an inference run say, at the time of the attempt and when its verdict is looked at again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyworlds_gate.checkpoints.agreement import agreement_text, check_agreement
from tinyworlds_gate.checkpoints.layout import CheckpointRef
from tinyworlds_gate.config.load import Settings
from tinyworlds_gate.errors import CheckpointError, DataError
from tinyworlds_gate.gate.conditions import Condition
from tinyworlds_gate.gate.extension import ClipMetric
from tinyworlds_gate.gate.measures.baselines import TrainingFrames
from tinyworlds_gate.gate.measures.claims import claim_conditions
from tinyworlds_gate.gate.measures.clip_facts import ClipFacts, clip_facts
from tinyworlds_gate.gate.measures.custom import CustomResult, measure_custom
from tinyworlds_gate.gate.measures.frame_measures import measured_frames
from tinyworlds_gate.gate.measures.objects.measure import ObjectCounts
from tinyworlds_gate.gate.measures.probe import Probe, probed, with_probe_records
from tinyworlds_gate.gate.measures.raw import MeasuresError, read_raw
from tinyworlds_gate.gate.measures.recomputed_errors import Recomputed, recomputed
from tinyworlds_gate.gate.measures.summary import GateMeasures, summarise
from tinyworlds_gate.gate.scorecard import Scorecard, clip_scores, measuring_settings
from tinyworlds_gate.names import EVALUATION, INVALID, PASS, STAGES
from tinyworlds_gate.reference.data.datasets import dataset_stride
from tinyworlds_gate.reference.rollout.generated_frames import GeneratedFrames, read_generated
from tinyworlds_gate.run.drawing import load_matplotlib
from tinyworlds_gate.run.journal import Event, last_event


@dataclass(frozen=True)
class Measured:
    """What a measures file is worth: its summary, the first frames of its clips, and how its statements held.

    Without a summary it is no evidence at all, and ``problem`` says why.
    """

    measures: GateMeasures | None
    starts: tuple[int, ...] = ()
    problem: str = ""
    claims: tuple[Condition, ...] = ()
    custom: tuple[CustomResult, ...] = ()
    """The conditions and metrics of the project's conftest.py."""
    card: Scorecard | None = None
    """What was found of each clip, without a name; None without generated frames."""


@dataclass(frozen=True)
class Known:
    """What a measures file and the frames beside it say before the probe has ended."""

    raw: dict[str, Any]
    facts: ClipFacts
    measures: GateMeasures
    generated: GeneratedFrames | None
    made: Recomputed | None
    problem: str
    """Why there are no generated frames; empty where there are."""
    objects: ObjectCounts | None = None

    def scorecard(self) -> Scorecard | None:
        """What was found of each clip; None without generated frames."""
        if self.made is None or self.objects is None:
            return None
        return Scorecard(
            name="",
            source=None,
            settings=measuring_settings(self.raw),
            clips=clip_scores(self.facts, self.made, self.objects),
            strongest_baseline=self.facts.baselines.strongest,
            kinds=tuple(what for what, _, _ in self.objects.kinds),
        )


def measure_files(path: Path, root: Path, frames: Path | None, training: TrainingFrames | None) -> Known:
    """Return what the files of an inference run say; the arguments are those of :func:`measured`.

    Raises:
        MeasuresError: the measures or the clips cannot be read.
    """
    raw = read_raw(path)
    if frames is not None and raw.get("data_path") is not None:
        raw["data_path"] = str(frames)
    facts = clip_facts(raw, root, training)
    measures = summarise(raw, facts)
    generated, made, problem = _generated(path, raw, facts)
    objects = None
    if generated is not None:
        measures, objects = measured_frames(measures, facts, generated.predicted)
    return Known(raw, facts, measures, generated, made, problem, objects)


def measured(
    path: Path,
    root: Path,
    frames: Path | None = None,
    *,
    training: TrainingFrames | None = None,
    asked: Mapping[str, Any] | None = None,
    weights: Mapping[str, str] | None = None,
    custom: Sequence[ClipMetric] = (),
    probe: Probe | None = None,
    files: Callable[[], Known] | None = None,
) -> Measured:
    """Read what the process wrote, held to what the harness finds itself (`claims.py`).

    Args:
        path: the measures file; the generated frames lie beside it.
        root: the folder that a relative path of the frames file starts from.
        frames: the frames file of the run, whatever the process says that it read; None believes the process.
        training: the frames that baselines learn from; None: they are not known.
        asked: setting → value that the run was to be measured with; None does not look.
        weights: stage → SHA-256 of the weights that were to be measured; None does not look.
        custom: conditions and metrics of the project, measured on the same clips.
        probe: what a fresh process generated of the same clips; None: there was no probe.
        files: returns what :func:`measure_files` does with these arguments, if that was begun before.
    """
    try:
        known = measure_files(path, root, frames, training) if files is None else files()
    except MeasuresError as error:
        return Measured(None, problem=str(error))
    raw, facts, measures, shown = known.raw, known.facts, known.measures, None
    starts = tuple(int(clip["start"]) for clip in raw["clips"])
    if probe is not None and known.generated is not None and known.made is not None:
        clips = facts.true_BSHWC, facts.episodes, weights, facts.context_BPHWC
        shown = probed(probe, known.generated, *clips, measures.action_codes_used)
        measures = with_probe_records(measures, shown)
    claims = [*claim_conditions(raw, facts, known.made, asked, weights, shown)]
    if known.problem:
        claims.append(Condition("G5.recomputed", INVALID, known.problem))
    results = measure_custom(custom, facts, known.generated, known.problem)
    return Measured(measures, starts, claims=tuple(claims), custom=results, card=known.scorecard())


def _generated(
    path: Path, raw: Mapping[str, Any], facts: ClipFacts
) -> tuple[GeneratedFrames | None, Recomputed | None, str]:
    name = raw.get("generated_frames")
    if not isinstance(name, str) or Path(name).name != name:
        problem = "the inference run names no file with the frames that it generated, so its errors cannot be checked"
        return None, None, problem
    try:
        generated = read_generated(path.parent / name)
        return generated, recomputed(generated, facts.true_BSHWC), ""
    except (DataError, MeasuresError) as error:
        return None, None, f"its errors cannot be checked: {error}"


def dataset_sha256(events: Iterable[Event]) -> str | None:
    """SHA-256 of the frames file that the run was prepared on; None when it was not."""
    ready = last_event(list(events), "dataset_ready")
    return None if ready is None else str(ready["sha256"])


def evaluation_sha256(events: Iterable[Event], draw: int) -> str | None:
    """SHA-256 of the evaluation set that a draw's clips lie in; None for clips of the frames file."""
    ready = last_event(list(events), "dataset_ready") if draw == EVALUATION else None
    evaluation = (ready or {}).get("evaluation")
    return None if evaluation is None else str(evaluation["sha256"])


def asked_settings(settings: Settings, draw: int, frames: Path | None) -> dict[str, Any]:
    """Setting → value, as a measures file must state them (docs/journal.md).

    ``frames`` is the file that the clips of this draw lie in; None leaves the stride out.

    Raises:
        DataError: the file is damaged.
    """
    inference, training = settings.inference, settings.training
    horizon = inference.prediction_horizon
    context = inference.context_window or training.context_length - horizon
    return {
        "context": context,
        "generation_steps": inference.generation_steps * horizon,
        "prediction_horizon": horizon,
        "decode_steps": inference.decode_steps,
        "temperature": inference.temperature,
        "teacher_forced": inference.teacher_forced,
        "rollout": inference.rollout,
        "memory_window": inference.memory_window or context,
        "token_choice": inference.token_choice,
        "frame_size": training.frame_size,
        "n_actions": training.n_actions,
        "seed": inference.seed,
        "clip_seed": inference.clip_seed,
        "clip_draw": draw,
        **({} if frames is None else {"stride": _stride(settings, draw, frames)}),
    }


def _stride(settings: Settings, draw: int, frames: Path) -> int:
    """The clips of an evaluation set have consecutive frames; others those of the training's rate."""
    return 1 if draw == EVALUATION else dataset_stride(frames, settings.training.dataset, settings.training.fps)


def agreement_conditions(
    checkpoints: Mapping[str, CheckpointRef | Path], backbones: Mapping[str, Mapping[str, int]] | None = None
) -> tuple[Condition, ...]:
    """One INVALID condition for each disagreement or checkpoint that cannot be read, or one that holds.

    ``backbones``: stage → its own backbone, where stages may differ (C2); None where they share one.
    """
    video, latent, dynamics = (checkpoints[stage] for stage in STAGES)
    try:
        found = check_agreement(video, latent, dynamics, backbones=backbones)
        problems = [reason for _, holds, reason in found if not holds]
    except CheckpointError as error:
        problems = [str(error)]
    if not problems:
        return (Condition("C4", PASS, agreement_text(reason for _, _, reason in found)),)
    return tuple(Condition("C4", INVALID, reason) for reason in problems)


PATTERN = "inference_results_gt_vs_pred_*.png"
LEAST_SIDE = 16
"""Pixels."""


@dataclass(frozen=True)
class PictureCheck:
    """The new picture, or why there is none."""

    path: Path | None
    problem: str


def existing_pictures(folder: Path) -> frozenset[Path]:
    """The pictures that lie there now; taken before the inference run starts."""
    return frozenset(folder.glob(PATTERN))


def check_new_picture(folder: Path, before: frozenset[Path]) -> PictureCheck:
    """Find the picture that appeared since ``before`` and decode it."""
    fresh = sorted(set(folder.glob(PATTERN)) - before)
    if not fresh:
        stale = f"{len(before)} older ones lie there" if before else "the folder holds none"
        return PictureCheck(None, f"no new {PATTERN} appeared in {folder.name}/ ({stale})")
    return check_picture(fresh[-1])


def check_picture(path: Path) -> PictureCheck:
    """Whether one file is a picture in which a rollout can be seen."""
    load_matplotlib()
    from matplotlib.image import imread

    try:
        pixels = imread(path)
    except (OSError, ValueError, SyntaxError) as error:
        return PictureCheck(None, f"{path.name} does not decode as an image ({error})")
    if pixels.ndim < 2 or pixels.size == 0:
        return PictureCheck(None, f"{path.name} is an empty image")
    height, width = pixels.shape[:2]
    if min(height, width) < LEAST_SIDE:
        least = f"a picture of a rollout has at least {LEAST_SIDE} x {LEAST_SIDE}"
        return PictureCheck(None, f"{path.name} is {width} x {height} pixels; {least}")
    if (pixels == pixels[0, 0]).all():
        return PictureCheck(None, f"{path.name} is of a single colour, so that it shows no rollout")
    return PictureCheck(path, "")
