"""Check whether the verdict of a run still holds for the files on the disk; nothing is run, everything is read again.

Read are the journal, the three checkpoints, the frames file, the settings files of the project, the measures, log and
picture of the inference run, the commit and the versions. What the verdict is bound to (`gate/binding.py`) must be the
same, and its files must give the same verdict again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyworlds_gate.checkpoints.integrity import sha256_of, verify_checkpoint
from tinyworlds_gate.config.load import Settings, resolve_settings
from tinyworlds_gate.config.thresholds import GateThresholds, recorded_thresholds
from tinyworlds_gate.errors import CheckpointError, GateError
from tinyworlds_gate.gate.attempt_record import inference_evidence
from tinyworlds_gate.gate.binding import bind, changed_since
from tinyworlds_gate.gate.checkout_attempt import evidence_of
from tinyworlds_gate.gate.checkout_gate import both_gates, judge_target, of_one_code
from tinyworlds_gate.gate.clip_plan import clips_of_draw, rollout_span, split_frames, training_frames
from tinyworlds_gate.gate.evidence import (
    Measured,
    PictureCheck,
    asked_settings,
    check_picture,
    measured,
)
from tinyworlds_gate.gate.extension import ClipMetric
from tinyworlds_gate.gate.measures.baselines import TrainingFrames
from tinyworlds_gate.gate.verdict import GateVerdict, judge_inference
from tinyworlds_gate.loop.checkout import TREE_FILE, adapted, chosen_target, settings_of
from tinyworlds_gate.names import DEGRADED, INVALID, PASS
from tinyworlds_gate.reference.data.clip_reader import read_episodes
from tinyworlds_gate.reference.data.datasets import dataset_stride
from tinyworlds_gate.reference.data.evaluation_set import open_evaluation_set, unseen_part
from tinyworlds_gate.reference.data.frames_file import load_frames
from tinyworlds_gate.reports.model import Attempt, RunRecord, load_record
from tinyworlds_gate.run.journal import Event, last_event
from tinyworlds_gate.run.layout import project_of_run
from tinyworlds_gate.run.source_state import source_state
from tinyworlds_gate.targets.base import Target
from tinyworlds_gate.targets.fingerprint import changed_files, fingerprint

UNENDED = ("interrupted", "unfinished")
SAME_ERROR = 1e-9
"""Relative: the mean over the same numbers."""


@dataclass(frozen=True)
class VerdictNow:
    """The recorded verdict of a run, and why it does not hold any more (``changes`` is empty when it does)."""

    run: str
    verdict: str
    sentence: str
    attempt: str | None
    changes: list[str]
    binding: Mapping[str, Any] | None

    @property
    def holds(self) -> bool:
        """Whether the verdict holds for the files on the disk."""
        return not self.changes

    @property
    def now(self) -> str:
        """The verdict on the files on the disk: the recorded one where it holds, else INVALID."""
        return self.verdict if self.holds else INVALID

    @property
    def passed(self) -> bool:
        """Whether it holds and is a pass."""
        return self.now in (PASS, DEGRADED)


def verdict_now(run_folder: Path, *, without: Container[str] = (), custom: Sequence[ClipMetric] = ()) -> VerdictNow:
    """Look at a run again.

    ``custom`` are the conditions that the run's conftest.py added; one that is missing here is named in ``changes``.

    ``without`` leaves out what is named: ``binding`` (what the verdict is bound to) or ``files`` (what its files say
    now). The product leaves out nothing: it shows what the two are worth (docs/gate-power.md).

    Raises:
        GateError: the folder is no run, or its journal cannot be read.
    """
    folder = run_folder.resolve()
    record = load_record(project_of_run(folder, run_folder), folder)
    verdict, sentence = record.verdict()
    last = record.last_attempt
    if last is None or last.verdict is None or last.finished is None:
        return VerdictNow(record.run, verdict, sentence, None, ["the journal holds no verdict of the gate"], None)
    if record.status in UNENDED:
        return VerdictNow(
            record.run, verdict, sentence, last.name, [f"the run did not come to its end: {sentence}"], None
        )
    changes = _Recheck(record, last, last.verdict, last.finished, custom).changes(without)
    return VerdictNow(record.run, verdict, sentence, last.name, changes, last.verdict.get("binding"))


class _Recheck:
    """One attempt, read again."""

    def __init__(
        self, record: RunRecord, attempt: Attempt, verdict: Event, finished: Event, custom: Sequence[ClipMetric]
    ) -> None:
        self.record, self.attempt, self.verdict, self.finished = record, attempt, verdict, finished
        self.custom = custom
        self.root = record.project_root
        self.target: Target | None = None
        """The checkout that the run drove; None for the embedded reference."""
        self.problems: list[str] = []

    def changes(self, without: Container[str]) -> list[str]:
        settings = self._settings()
        frames, frames_sha256 = self._frames(self.record.dataset or {}, "the frames file")
        evaluation, evaluation_digest = self._evaluation()
        clips = evaluation if self.attempt.on_evaluation_set else frames
        if self.verdict.get("gates") and self.target is None:
            return self.problems
        training, asked = self._asked(settings, frames, clips)
        found = measured(
            self.root / str(self.finished.get("measures_file")),
            self.root,
            clips,
            training=training,
            asked=asked,
            weights={stage: str(one["sha256"]) for stage, one in self.finished["checkpoints"].items()},
            custom=self.custom,
        )
        if found.measures is None and self.verdict.get("measures") is not None:
            self.problems.append(found.problem)
        weights = {stage: self._weights(stage, one) for stage, one in self.finished["checkpoints"].items()}
        changed: list[str] = []
        if settings is not None:
            now = bind(
                settings,
                self.attempt.draw,
                weights,
                clip_digest=found.measures.clip_digest if found.measures else None,
                dataset_sha256=frames_sha256,
                evaluation_sha256=evaluation_digest,
                source=source_state(self.root if self.target is None else self.target.root),
                custom=self.custom,
            )
            changed = changed_since(self.verdict.get("binding"), now)
        self._require_bound_thresholds()
        again = self._judged_again(found, settings, clips)
        return [
            *([] if "binding" in without else changed),
            *([] if "files" in without else [*self.problems, *again]),
        ]

    def _settings(self) -> Settings | None:
        """As a run with the same options would resolve them now, from the project's files and not the run's copy."""
        options = self.record.options
        profile = str(options.get("profile") or self.record.started["kind"])
        try:
            self.target = chosen_target(options)
            if self.target is not None:
                own = resolve_settings(profile, options, project_root=self.root, checkout=settings_of(self.target))
                return adapted(own, options, self.target)
            return resolve_settings(profile, options, project_root=self.root)
        except GateError as error:
            self.problems.append(f"the settings cannot be resolved any more: {error}")
            return None

    def _asked(
        self, settings: Settings | None, frames: Path | None, clips: Path | None
    ) -> tuple[TrainingFrames | None, dict[str, Any] | None]:
        """The frames that baselines learn from, and the settings that the measures must state."""
        if settings is None:
            return None, None
        try:
            training = training_frames(settings, frames, trained=self.target is None)
            return training, asked_settings(settings, self.attempt.draw, clips)
        except GateError as error:
            self.problems.append(str(error))
            return None, None

    def _frames(self, recorded: Mapping[str, Any], what: str) -> tuple[Path | None, str | None]:
        path = self.root / str(recorded.get("path"))
        if not path.is_file():
            self.problems.append(f"{what} {path.name} is gone")
            return None, None
        return path, sha256_of(path)

    def _evaluation(self) -> tuple[Path | None, str | None]:
        if not self.attempt.on_evaluation_set:
            return None, None
        return self._frames((self.record.dataset or {}).get("evaluation") or {}, "the evaluation set")

    def _weights(self, stage: str, recorded: Mapping[str, Any]) -> str | None:
        try:
            return verify_checkpoint(
                self.root / recorded["path"],
                expected_stage=stage,
                expected_step=recorded["step"],
                require_optimizer=False,
            ).model_sha256
        except CheckpointError as error:
            self.problems.append(str(error))
            return None

    def _require_bound_thresholds(self) -> None:
        config = (self.verdict.get("binding") or {}).get("config") or {}
        names = (key for key in GateThresholds.model_fields if f"thresholds.{key}" in config)  # older ones had fewer
        bound = {key: config[f"thresholds.{key}"] for key in names}
        if config and self.verdict.get("thresholds") != bound:
            self.problems.append("the thresholds that stand beside the verdict are not those that it is bound to")

    def _judged_again(self, found: Measured, settings: Settings | None, frames: Path | None) -> list[str]:
        """What the files of the inference run give now, where that is another verdict."""
        thresholds = recorded_thresholds(self.verdict)
        if thresholds is None:
            return ["the journal does not say which thresholds the verdict was judged by"]
        evidence = inference_evidence(
            exit_code=self.finished.get("exit_code"),
            log=self.root / str(self.finished.get("log")),
            expected_checkpoints={
                stage: str(Path(str(self.record.started["project_root"])) / one["path"])
                for stage, one in self.finished["checkpoints"].items()
            },
            checkpoints={stage: self.root / one["path"] for stage, one in self.finished["checkpoints"].items()},
            picture=self._picture(),
            found=found,
            draw=self.attempt.draw,
            drawn_starts=self._drawn(settings, frames),
            backbones=None if settings is None else settings.backbones or None,
        )
        again = judge_inference(evidence, thresholds)
        if self.target is not None and settings is not None:
            again = self._with_own_gate(again, thresholds, settings, self.target)
        other = self._other_custom()
        recorded = [(one["id"], one["verdict"]) for one in self.verdict["conditions"] if one["id"] not in other]
        now = [(one.id, one.verdict) for one in again.conditions if one.id not in other]
        if recorded == now and self._same_error(found):
            return []
        return [f"the files of {self.attempt.name} now give another verdict: {again.sentence}"]

    def _other_custom(self) -> set[str]:
        """IDs of custom conditions that only the verdict has, or only this session; the binding reports them."""
        recorded = {str(one["name"]) for one in self.verdict.get("custom_metrics") or [] if one["verdict"]}
        return {f"G5.{name}" for name in recorded ^ {one.name for one in self.custom if one.limit is not None}}

    def _with_own_gate(
        self, trusted: GateVerdict, thresholds: GateThresholds, settings: Settings, target: Target
    ) -> GateVerdict:
        """Both gates of a checkout again: its own inference's files, and its tree."""
        key = {"attempt": self.attempt.number, "draw": self.attempt.draw}
        own = last_event(self.record.events, "target_inference_finished", **key) or {}
        name = own.get("picture")
        picture = check_picture(self.root / name) if name else PictureCheck(None, str(own.get("picture_problem") or ""))
        expected = {stage: str(self.root / one["path"]) for stage, one in self.finished["checkpoints"].items()}
        log = self.root / str(own.get("log"))
        said = evidence_of(settings, target, own.get("exit_code"), log, picture, expected)
        judged = judge_target(said, target.can, thresholds.max_mse)
        why_not = next((c["reason"] for c in self.verdict["conditions"] if c["id"] == "G5.trusted"), None)
        both = both_gates(judged, None if why_not else trusted, why_not, thresholds)
        tree: dict[str, str] = json.loads((self.record.folder / TREE_FILE).read_text(encoding="utf-8"))
        return of_one_code(both, changed_files(tree, fingerprint(target.root)), len(tree))

    def _same_error(self, found: Measured) -> bool:
        """Whether the measures file gives the error of the journal (none: nothing was measured)."""
        recorded = (self.verdict.get("measures") or {}).get("mse")
        if recorded is None or found.measures is None:
            return True
        return math.isclose(recorded, found.measures.mse, rel_tol=SAME_ERROR)

    def _picture(self) -> PictureCheck:
        name = self.finished.get("picture")
        if name is None:
            return PictureCheck(None, self._recorded_reason("G4"))
        path = self.root / str(name)
        return check_picture(path) if path.is_file() else PictureCheck(None, f"the picture {path.name} is gone")

    def _recorded_reason(self, id: str) -> str:
        return next((str(one["reason"]) for one in self.verdict["conditions"] if one["id"] == id), "")

    def _drawn(self, settings: Settings | None, frames: Path | None) -> tuple[int, ...] | None:
        if settings is None or frames is None or not self._recorded_reason("G5.clips"):
            return None
        if self.attempt.on_evaluation_set:
            return self._named(settings, frames)
        stride = dataset_stride(frames, settings.training.dataset, settings.training.fps)
        try:
            episode = read_episodes(frames, stride=stride)
            held_out = split_frames(settings, episode).held_out
            return clips_of_draw(settings, frames, episode, held_out, self.attempt.draw).starts
        except GateError as error:
            self.problems.append(str(error))
            return None

    def _named(self, settings: Settings, evaluation: Path) -> tuple[int, ...] | None:
        """The clips that the evaluation set names now, without those that the run left out as training clips."""
        length, size = sum(rollout_span(settings)), settings.training.frame_size
        recorded = self.record.dataset or {}
        try:
            found = open_evaluation_set(evaluation, frame_size=size, length=length)
            if (recorded.get("evaluation") or {}).get("left_out"):
                frames = self.root / str(recorded["path"])
                stride = dataset_stride(frames, settings.training.dataset, settings.training.fps)
                data = load_frames(frames, frame_size=size, stride=stride)
                found = unseen_part(found, data, length=length).evaluation
        except GateError as error:
            self.problems.append(str(error))
            return None
        return tuple(found.starts.tolist())
