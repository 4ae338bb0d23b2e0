"""What `score --sweep` reads of a run: the checkpoints of the swept stage, the other two, frames, clips and rollout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyworlds_gate.checkpoints.layout import list_checkpoints
from tinyworlds_gate.checkpoints.resolve import resolve_checkpoint
from tinyworlds_gate.errors import CheckpointError, ConfigError
from tinyworlds_gate.names import ATTEMPTS, STAGES
from tinyworlds_gate.reference.data.datasets import dataset_stride
from tinyworlds_gate.run.journal import Event, events_of, last_event, read_journal

SHOWN_RUNS = 5
ROLLOUT_SETTINGS = {
    "context": "context_window",
    "steps": "generation_steps",
    "decode_steps": "decode_steps",
    "rollout": "rollout",
    "memory_window": "memory_window",
    "token_choice": "token_choice",
    "seed": "seed",
    "tf32": "tf32",
}
"""Option of `score` → key of `inference.yaml`."""
OTHER_SETTINGS = {"prediction_horizon": 1, "temperature": 0.0, "teacher_forced": False}
"""Keys of `inference.yaml` that `score` has no option for → its value."""
GIVEN = {
    "video_tokenizer": "video_checkpoint",
    "latent_actions": "latent_checkpoint",
    "dynamics": "dynamics_checkpoint",
}


@dataclass(frozen=True)
class SweptRun:
    """A run's folder with the events of its journal; none for a folder without a journal."""

    folder: Path
    events: list[Event]

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def root(self) -> Path:
        """The project, which the journal's paths are relative to."""
        return self.folder.parent.parent

    def setting(self, name: str) -> Any:
        """The value of a dotted setting; None where the journal has none."""
        resolved = last_event(self.events, "settings_resolved") or {}
        return (resolved.get("settings") or {}).get(name, {}).get("value")

    def checkpoints(self, stage: str) -> dict[int, Path]:
        """Step → folder of the stage's checkpoints in the run, oldest first; nothing is verified.

        Raises:
            CheckpointError: there is none.
        """
        own = self.folder / stage / "checkpoints"
        recorded = (self.root / one["path"] for one in self._recorded(stage))
        found: dict[int, Path] = {}
        for parent in dict.fromkeys([own, *(path.parent for path in recorded)]):
            found = dict(list_checkpoints(parent, stage)) | found
        if not found:
            others = [one for one in STAGES if list_checkpoints(self.folder / one / "checkpoints", one)]
            hint = f"it has some of {' and '.join(others)}" if others else "it has none of another stage either"
            raise CheckpointError(f"run {self.name} has no checkpoint of {stage} in {own}; {hint}")
        return dict(sorted(found.items()))

    def lost_steps(self, stage: str, present: Mapping[int, Path]) -> list[int]:
        """The steps of checkpoints that completed chunks saved and that are no longer there."""
        saved: set[int] = set()
        for done in events_of(self.events, "chunk_finished", stage=stage, cause="ok"):
            began = last_event(self.events, "chunk_started", chunk=done.get("chunk"))
            interval = ((began or {}).get("params") or {}).get("log_interval")
            if began is None or not interval:
                continue
            start, end = int(began["start_update"]), int(began["end_update"])
            saved |= {update - 1 for update in range(start + 1, end + 1) if update % interval == 0 or update == end}
        return sorted(saved - set(present))

    def other_checkpoint(self, stage: str) -> Path:
        """The checkpoint of a stage that the run's gate used, or its last one.

        Raises:
            CheckpointError: there is none.
        """
        used = (last_event(self.events, "inference_started") or {}).get("checkpoints") or {}
        ended = (last_event(self.events, "stage_finished", stage=stage) or {}).get("checkpoint") or {}
        for path in (used.get(stage), ended.get("path"), self.setting(f"options.{GIVEN[stage]}")):
            if path is not None and (self.root / path).exists():
                return resolve_checkpoint(self.root / path, stage, require_optimizer=False).path
        return resolve_checkpoint(self.folder / stage / "checkpoints", stage, require_optimizer=False).path

    def frames(self) -> tuple[Path, str]:
        """The frames file of the run's held-out clips, and its SHA-256.

        Raises:
            ConfigError: the journal names none.
        """
        ready = last_event(self.events, "dataset_ready")
        if ready is None or not ready.get("path"):
            raise ConfigError(f"{self.folder}: its journal names no frames file; add --data F.h5")
        return self.root / ready["path"], str(ready.get("sha256"))

    def rollout_values(self) -> dict[str, Any]:
        """Options of the rollout, as the run's gate had them; without those that the journal does not record."""
        values = {option: self.setting(f"inference.{key}") for option, key in ROLLOUT_SETTINGS.items()}
        values["max_mse"] = self.setting("profile.thresholds.max_mse")
        return {option: value for option, value in values.items() if value is not None}

    def clip_values(self, data: Path) -> dict[str, Any]:
        """Options of the clips: those of the run's attempts, so that the clips of its final verdict stay unseen."""
        values: dict[str, Any] = {"starts": "draw", "clip_draw": ATTEMPTS}
        for option in ("clips", "clip_seed"):
            values[option] = self.setting(f"inference.{option}")
        dataset, fps = self.setting("inference.dataset"), self.setting("inference.fps")
        if dataset is not None and fps is not None:
            values["stride"] = dataset_stride(data, dataset, fps)
        return values

    def notes(self) -> list[str]:
        """Sentences on settings of the run's gate that a sweep does not follow."""
        other = {key: self.setting(f"inference.{key}") for key in OTHER_SETTINGS}
        differing = [f"{key} {value}" for key, value in other.items() if value not in (None, OTHER_SETTINGS[key])]
        if not differing:
            return []
        return [
            f"the run's gate has {', '.join(differing)}; a sweep generates one frame a step, strictly, without sampling"
        ]

    def _recorded(self, stage: str) -> list[Mapping[str, Any]]:
        chunks = events_of(self.events, "chunk_finished", stage=stage)
        return [one for chunk in chunks if (one := chunk.get("checkpoint")) is not None]


def find_run(named: str, option: str = "--sweep") -> SweptRun:
    """The run of a name (`results/<name>` below the current folder) or of a folder; ``option`` is for the error.

    Raises:
        ConfigError: there is no such folder.
        GateError: its journal is damaged.
    """
    places = [Path(named), Path("results") / named]
    folder = next((place.resolve() for place in places if place.is_dir()), None)
    if folder is None:
        newest = sorted(
            (one for one in Path("results").glob("*") if one.is_dir()),
            key=lambda one: one.stat().st_mtime,
            reverse=True,
        )
        listed = ", ".join(one.name for one in newest[:SHOWN_RUNS]) or "none"
        raise ConfigError(
            f"{option} {named}: there is no such run: neither {places[0]} nor {places[1]} is a folder. Runs here: "
            f"{listed} (all: `tinyworlds-gate runs`)"
        )
    journal = folder / "journal.jsonl"
    return SweptRun(folder, read_journal(journal) if journal.is_file() else [])


def selected(steps: list[int], every: int | None, at_most: int | None) -> list[int]:
    """The steps to score: every n-th, counted back from the last, then at most so many, spread evenly."""
    chosen = steps[::-1][:: every or 1][::-1]
    if at_most is None or at_most >= len(chosen):
        return chosen
    if at_most == 1:
        return chosen[-1:]
    return [chosen[round(place * (len(chosen) - 1) / (at_most - 1))] for place in range(at_most)]
