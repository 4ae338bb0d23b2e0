"""One attempt at the inference gate, read again from its files: what has changed, and which verdict they give now."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tinyworlds_gate.checkpoints.integrity import sha256_of, verify_checkpoint
from tinyworlds_gate.checkpoints.layout import MODEL_FILE
from tinyworlds_gate.config.load import Settings, resolve_settings
from tinyworlds_gate.config.thresholds import GateThresholds, recorded_thresholds
from tinyworlds_gate.errors import CheckpointError, GateError
from tinyworlds_gate.gate.attempt_record import (
    checkpoint_digests,
    evidence_paths,
    file_digests,
    inference_evidence,
    named_scorecard,
)
from tinyworlds_gate.gate.binding import CUSTOM, Binding, bind, changed_evidence, changed_since
from tinyworlds_gate.gate.checkout_attempt import evidence_of
from tinyworlds_gate.gate.checkout_gate import both_gates, judge_target, of_one_code
from tinyworlds_gate.gate.clip_plan import clips_of_draw, rollout_span, split_frames, training_frames
from tinyworlds_gate.gate.earlier_verdicts import Present, with_earlier_now
from tinyworlds_gate.gate.evidence import (
    Measured,
    PictureCheck,
    asked_settings,
    check_picture,
    measure_files,
    measured,
)
from tinyworlds_gate.gate.extension import ClipMetric
from tinyworlds_gate.gate.measures.baselines import TrainingFrames
from tinyworlds_gate.gate.probe_process import recorded_probe
from tinyworlds_gate.gate.provenance import recorded_conditions
from tinyworlds_gate.gate.scorecard import Scorecard, read_scorecard, same_content, scorecard_path
from tinyworlds_gate.gate.verdict import GateVerdict, judge_inference
from tinyworlds_gate.launch.cause import OK
from tinyworlds_gate.loop.checkout import TREE_FILE, adapted, checkout_settings, chosen_target
from tinyworlds_gate.loop.provenance import training_frames_now
from tinyworlds_gate.loop.same_verdict import differences
from tinyworlds_gate.reference.data.clip_reader import read_episodes
from tinyworlds_gate.reference.data.datasets import dataset_stride
from tinyworlds_gate.reference.data.evaluation_set import open_evaluation_set, unseen_part
from tinyworlds_gate.reference.data.frames_file import load_frames
from tinyworlds_gate.reports.model import Attempt, RunRecord
from tinyworlds_gate.run.journal import Event, last_event
from tinyworlds_gate.run.source_state import source_state
from tinyworlds_gate.targets.base import Target
from tinyworlds_gate.targets.fingerprint import changed_files, fingerprint

CODE = ("commit", "dirty", "versions", "harness_sha256")
"""Fields of a binding that only another state of the code changes."""


@dataclass(frozen=True)
class AttemptNow:
    """One attempt, read again; each list is empty where nothing is wrong."""

    changed: list[str]
    """What the verdict is bound to and is another now, without its evidence files."""
    evidence: list[str]
    """Evidence files that are others now."""
    missing: list[str]
    """What cannot be read any more, so that the verdict cannot be judged again."""
    contradictions: list[str]
    """How the verdict that the files give differs from the recorded one."""


class AttemptAgain:
    """One attempt, read again."""

    def __init__(
        self,
        record: RunRecord,
        attempt: Attempt,
        verdict: Event,
        finished: Event,
        custom: Sequence[ClipMetric],
        *,
        profile: str | None = None,
        settings: Settings | None = None,
        target: Target | None = None,
    ) -> None:
        """Without ``settings`` (of a resumed run, with its ``target``) they are resolved again, from ``profile``."""
        self.record, self.attempt, self.verdict, self.finished = record, attempt, verdict, finished
        self.custom = custom
        self.profile, self.given = profile, settings
        self.root = record.project_root
        self.target = target
        """The checkout that the run drove; None for the embedded reference."""
        self.missing: list[str] = []

    def look(self, *, any_code: bool = False) -> AttemptNow:
        """Read everything again; ``any_code``: another state of the code is no change."""
        settings, recorded = self.given or self._settings(), self.verdict.get("binding")
        digests = self._evidence(recorded)
        evidence = changed_evidence(recorded, digests)
        frames, frames_sha256 = self._frames(self.record.dataset or {}, "the frames file")
        evaluation, evaluation_digest = self._evaluation()
        clips = evaluation if self.attempt.on_evaluation_set else frames
        if self.verdict.get("gates") and self.target is None:
            return AttemptNow([], evidence, self.missing, [])
        training, asked = self._asked(settings, frames, clips)
        key = {"attempt": self.attempt.number, "draw": self.attempt.draw}
        found = measured(
            self.root / str(self.finished.get("measures_file")),
            self.root,
            clips,
            training=training,
            asked=asked,
            weights={stage: str(one["sha256"]) for stage, one in self.finished["checkpoints"].items()},
            custom=self.custom,
            probe=recorded_probe(self.record.events, key, self.root),
        )
        if found.measures is None and self.verdict.get("measures") is not None:
            self.missing.append(found.problem)
        weights = {stage: self._weights(stage, one) for stage, one in self.finished["checkpoints"].items()}
        changed, same_code = list[str](), False
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
                checkpoint_files=checkpoint_digests(
                    [self.root / one["path"] for one in self.finished["checkpoints"].values()]
                ),
                evidence=digests,
            )
            same_code = recorded is not None and recorded.get("harness_sha256") == now.harness_sha256
            changed = changed_since(recorded, self._in_that_state(now, recorded) if any_code else now)
            changed = [one for one in changed if one not in evidence]
        contradictions = [
            *self._other_scorecard(found.card),
            *self._bound_thresholds(),
            *self._judged_again(found, settings, clips, same_code=same_code),
        ]
        return AttemptNow(changed, evidence, self.missing, contradictions)

    def scorecard(self) -> Scorecard:
        """What the files of the attempt say of each clip, whatever was written at its time.

        Raises:
            GateError: the files are not there any more, or hold no generated frames.
        """
        settings = self.given or self._settings()
        frames, _ = self._frames(self.record.dataset or {}, "the frames file")
        evaluation, _ = self._evaluation()
        clips = evaluation if self.attempt.on_evaluation_set else frames
        training, _ = self._asked(settings, frames, clips)
        if self.missing:
            raise GateError(f"{self.record.run}: {self.attempt.name} cannot be measured again: {self.missing[0]}.")
        known = measure_files(self.root / str(self.finished.get("measures_file")), self.root, clips, training)
        card = known.scorecard()
        if card is None:
            raise GateError(f"{self.record.run}: {self.attempt.name} cannot be measured again: {known.problem}.")
        return self._of_this_attempt(card)

    def _of_this_attempt(self, card: Scorecard) -> Scorecard:
        weights = {stage: str(one["sha256"]) for stage, one in self.finished["checkpoints"].items()}
        key = self.record.run, self.attempt.number, self.attempt.draw
        commit = (self.verdict.get("binding") or {}).get("commit")
        return named_scorecard(card, self.record.events, *key, weights=weights, commit=commit)

    def _other_scorecard(self, now: Scorecard | None) -> list[str]:
        """Whether the scorecard beside the measures states something else than the files give now."""
        path = scorecard_path(self.root / str(self.finished.get("measures_file")))
        if now is None or not path.is_file():
            return []
        try:
            written = read_scorecard(path)
        except GateError as error:
            return [str(error)]
        if written.metric_version != now.metric_version or same_content(written, self._of_this_attempt(now)):
            return []
        return [f"{path.name} states something else than the files of {self.attempt.name} give"]

    def _in_that_state(self, now: Binding, recorded: Mapping[str, Any] | None) -> Binding:
        """The binding with the recorded code and custom conditions; its settings are compared only under that code."""
        was = recorded or {}
        fields: dict[str, Any] = {name: was[name] for name in CODE if name in was}
        config = was.get("config") or {}
        if was.get("harness_sha256") == now.harness_sha256:
            left_out = {key: value for key, value in config.items() if key.startswith(CUSTOM)}
            config = {**now.config, **left_out}
        return replace(now, config=config, **fields)

    def _evidence(self, recorded: Mapping[str, Any] | None) -> dict[str, str | None]:
        paths = evidence_paths(self.root, self.record.events, self.attempt.number, self.attempt.draw)
        return file_digests(self.root, paths | (recorded or {}).get("evidence", {}).keys())

    def _settings(self) -> Settings | None:
        """As a run with the same options would resolve them now, from the project's files or from ``profile``."""
        options = self.record.options
        profile = self.profile or str(options.get("profile") or self.record.started["kind"])
        try:
            self.target = chosen_target(options)
            if self.target is not None:
                return adapted(checkout_settings(profile, options, self.target, self.root), options, self.target)
            return resolve_settings(profile, options, project_root=self.root)
        except GateError as error:
            self.missing.append(f"the settings cannot be resolved any more: {error}")
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
            self.missing.append(str(error))
            return None, None

    def _frames(self, recorded: Mapping[str, Any], what: str) -> tuple[Path | None, str | None]:
        path = self.root / str(recorded.get("path"))
        if not path.is_file():
            self.missing.append(f"{what} {path.name} is gone")
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
            self.missing.append(str(error))
            file = self.root / recorded["path"] / MODEL_FILE
            return sha256_of(file) if file.is_file() else None

    def _bound_thresholds(self) -> list[str]:
        config = (self.verdict.get("binding") or {}).get("config") or {}
        names = (key for key in GateThresholds.model_fields if f"thresholds.{key}" in config)  # older ones had fewer
        bound = {key: config[f"thresholds.{key}"] for key in names}
        if config and self.verdict.get("thresholds") != bound:
            return ["the thresholds that stand beside the verdict are not those that it is bound to"]
        return []

    def _judged_again(
        self, found: Measured, settings: Settings | None, frames: Path | None, *, same_code: bool
    ) -> list[str]:
        """What the files of the inference run give now, where that is another verdict."""
        thresholds = recorded_thresholds(self.verdict)
        if thresholds is None:
            return ["the journal does not say which thresholds the verdict was judged by"]
        evidence = inference_evidence(
            exit_code=_exit_code(self.finished),
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
            recorded=recorded_conditions(
                self._recorded_now(found, frames, thresholds), self.attempt.number, self.attempt.draw
            ),
        )
        again = judge_inference(evidence, thresholds)
        if self.target is not None and settings is not None:
            again = self._with_own_gate(again, thresholds, settings, self.target)
        other = self.other_custom()
        clauses = differences(self.verdict, again, found.measures, same_code=same_code, other=other)
        return [f"the files of {self.attempt.name} {one}" for one in clauses]

    def _recorded_now(self, found: Measured, frames: Path | None, thresholds: GateThresholds) -> list[Event]:
        """The run's events, with earlier attempts and training frames as the files of the project show them now."""
        events, binding = training_frames_now(self.record.events, self.record.folder), self.verdict.get("binding")
        if not binding or not binding.get("config") or found.measures is None:
            return events
        checkpoints = self.finished["checkpoints"]
        present = Present(
            results=self.record.folder.parent,
            run=self.record.folder.name,
            weights={stage: str(one["sha256"]) for stage, one in checkpoints.items()},
            binding={**binding, "clip_digest": found.measures.clip_digest},
            thresholds=thresholds,
            dynamics=self.root / checkpoints["dynamics"]["path"],
            frames=frames,
            measures=self.root / str(self.finished.get("measures_file")),
            before=float(self.verdict["time"]),
        )
        return with_earlier_now(events, self.verdict, present)

    def other_custom(self) -> set[str]:
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
            return self._kept(clips_of_draw(settings, frames, episode, held_out, self.attempt.draw).starts)
        except GateError as error:
            self.missing.append(str(error))
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
            self.missing.append(str(error))
            return None
        return self._kept(found.starts.tolist())

    def _kept(self, starts: Sequence[int]) -> tuple[int, ...]:
        """The clips without those that the run left out, because its models were trained on them."""
        provenance = (self.record.dataset or {}).get("provenance") or {}
        left_out = (provenance.get("left_out") or {}).get(str(self.attempt.draw), ())
        return tuple(start for start in starts if start not in left_out)


def _exit_code(finished: Event) -> int | None:
    """The exit code of an inference process; None where the event's other fields say that it failed."""
    code = finished.get("exit_code")
    failed = finished.get("signal") or finished.get("log_tail") or finished.get("cause") not in (None, OK)
    return None if code == 0 and failed else code


def look_again(
    record: RunRecord, attempt: Attempt, settings: Settings, target: Target | None, custom: Sequence[ClipMetric] = ()
) -> AttemptNow | None:
    """An attempt of a resumed run, looked at again with the run's settings; None where it has no verdict."""
    if attempt.verdict is None or attempt.finished is None:
        return None
    finished = attempt.finished
    return AttemptAgain(record, attempt, attempt.verdict, finished, custom, settings=settings, target=target).look()
