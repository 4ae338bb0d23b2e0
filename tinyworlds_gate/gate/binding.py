"""What a verdict depends on: checkpoints, clips, settings, frames, evidence files, code and libraries. It holds only
while none of them has changed (pure functions; docs/gate.md).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tinyworlds_gate.config.load import Settings
from tinyworlds_gate.gate.extension import ClipMetric
from tinyworlds_gate.names import SHARED_KEYS
from tinyworlds_gate.run.source_state import SourceState

BOUND_PACKAGES = ("python", "tinyworlds_gate", "torch", "numpy", "h5py", "safetensors", "torchmetrics", "pillow")
"""Libraries that compute or read what is measured."""

MEASURING_KEYS = (
    "dataset",
    "fps",
    "teacher_forced",
    "context_window",
    "prediction_horizon",
    "generation_steps",
    "decode_steps",
    "temperature",
    "rollout",
    "memory_window",
    "token_choice",
    "tf32",
    "seed",
    "clips",
    "clip_seed",
)
"""Settings of the inference run that its numbers depend on; ``batch_size`` changes speed and memory only."""

SPLIT_KEYS = ("held_out_fraction", "split_seed")

CUSTOM = "custom_conditions."
"""Prefix of the project's own conditions in ``config``: their names and limits."""

OLDER = "an older version took the verdict: it is bound neither to its evidence files nor to the harness's code"

GONE = ", now none"
"""How the clause about a file ends that is gone."""

SHOWN_DIGITS = 12
"""Of a SHA-256."""


@dataclass(frozen=True)
class Binding:
    """Everything that a verdict depends on; None where it did not exist (a run that measured nothing has no clips)."""

    checkpoints: Mapping[str, str | None]
    """Stage → SHA-256 of its weights."""
    clip_digest: str | None
    config: Mapping[str, Any]
    """Dotted setting → value: of the inference run, of the thresholds, of the models' sizes."""
    dataset_sha256: str | None
    evaluation_sha256: str | None
    """Of the evaluation set; None for clips of the frames file."""
    commit: str | None
    dirty: bool | None
    versions: Mapping[str, str]
    harness_sha256: str | None = None
    """Of the harness's own files."""
    checkpoint_files: Mapping[str, str | None] = field(default_factory=dict)
    """Path in the project → SHA-256 of state and manifest of each checkpoint; None: there was no such file."""
    evidence: Mapping[str, str | None] = field(default_factory=dict)
    """The same of the files that the inference run left: measures, generated frames, log, picture."""

    @property
    def config_sha256(self) -> str:
        """SHA-256 of the settings that the gate depends on."""
        return config_sha256(self.config)

    def as_event(self) -> dict[str, Any]:
        """The journal's ``binding`` of a ``gate_verdict``."""
        return {**asdict(self), "config_sha256": self.config_sha256}


def bind(
    settings: Settings,
    draw: int,
    checkpoints: Mapping[str, str | None],
    *,
    clip_digest: str | None,
    dataset_sha256: str | None,
    source: SourceState,
    evaluation_sha256: str | None = None,
    custom: Sequence[ClipMetric] = (),
    checkpoint_files: Mapping[str, str | None] | None = None,
    evidence: Mapping[str, str | None] | None = None,
) -> Binding:
    """The binding of a verdict on these weights (SHA-256 by stage), taken on this draw under these settings."""
    versions = {name: source.versions[name] for name in BOUND_PACKAGES if name in source.versions}
    return Binding(
        checkpoints=dict(checkpoints),
        clip_digest=clip_digest,
        config=gate_config(settings, draw, custom),
        dataset_sha256=dataset_sha256,
        evaluation_sha256=evaluation_sha256,
        commit=source.commit,
        dirty=source.dirty,
        versions=versions,
        harness_sha256=source.harness_sha256,
        checkpoint_files=dict(checkpoint_files or {}),
        evidence=dict(evidence or {}),
    )


def gate_config(settings: Settings, draw: int, custom: Sequence[ClipMetric] = ()) -> dict[str, Any]:
    """The resolved settings that a verdict depends on, and the limits of the project's own conditions, flat."""
    training = settings.training
    found = {f"inference.{key}": getattr(settings.inference, key) for key in MEASURING_KEYS}
    found["inference.clip_draw"] = draw
    if settings.inference.evaluation_file is not None:
        found["inference.evaluation_file"] = settings.inference.evaluation_file
    found |= {f"training.{key}": getattr(training, key) for key in (*SPLIT_KEYS, *SHARED_KEYS)}
    found |= {f"{stage}.{key}": value for stage, own in settings.backbones.items() for key, value in own.items()}
    found |= {f"thresholds.{key}": value for key, value in settings.profile.thresholds.as_record().items()}
    return found | {f"{CUSTOM}{one.name}": one.limit_text for one in custom if one.limit is not None}


def config_sha256(config: Mapping[str, Any]) -> str:
    """SHA-256 of settings in one canonical text."""
    return hashlib.sha256(json.dumps(dict(config), sort_keys=True).encode()).hexdigest()


def changed_since(recorded: Mapping[str, Any] | None, now: Binding) -> list[str]:
    """What has changed since a verdict, a clause each; none: the verdict holds for ``now``.

    ``recorded`` is the ``binding`` of the verdict as the journal holds it; None in journals of older versions.
    """
    if recorded is None:
        return ["the journal does not say what this verdict is bound to: an older version wrote it"]
    changes = list(_records(recorded, now))
    if config_sha256(recorded["config"]) != recorded["config_sha256"]:
        changes.append("the journal's record of the settings was altered: their SHA-256 is another")
    return changes


def _records(was: Mapping[str, Any], now: Binding) -> Iterator[str]:
    for stage in sorted({*was["checkpoints"], *now.checkpoints}):
        yield from _digest(f"the {stage} weights", was["checkpoints"].get(stage), now.checkpoints.get(stage))
    yield from _digest("the clips", was["clip_digest"], now.clip_digest)
    yield from _digest("the frames file", was["dataset_sha256"], now.dataset_sha256)
    yield from _digest("the evaluation set", was.get("evaluation_sha256"), now.evaluation_sha256)
    # Through JSON, as the journal has gone.
    yield from _values(was["config"], json.loads(json.dumps(dict(now.config))))
    if was["commit"] != now.commit:
        yield f"the code was at commit {_short(was['commit'])} and is now at {_short(now.commit)}"
    if was["dirty"] != now.dirty:
        yield f"the code was {_clean(was['dirty'])} and is now {_clean(now.dirty)}"
    yield from _values(was["versions"], now.versions)
    if "harness_sha256" not in was:
        yield OLDER
        return
    yield from _digest("the harness's code", was["harness_sha256"], now.harness_sha256)
    yield from _digests(was["checkpoint_files"], now.checkpoint_files)
    yield from _digests(was["evidence"], now.evidence)


def changed_evidence(recorded: Mapping[str, Any] | None, now: Mapping[str, str | None]) -> list[str]:
    """The evidence files that have changed since a verdict, a clause each; also part of ``changed_since``.

    ``now``: path → SHA-256.
    """
    return list(_digests(recorded["evidence"], now)) if recorded and "evidence" in recorded else []


def _digests(was: Mapping[str, str | None], now: Mapping[str, str | None]) -> Iterator[str]:
    for path in sorted({*was, *now}):
        yield from _digest(path, was.get(path), now.get(path))


def _digest(what: str, was: str | None, now: str | None) -> Iterator[str]:
    if was != now:
        yield f"{what} had SHA-256 {_short(was)}, now {_short(now)}"


def _values(was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted({*was, *now}):
        before, after = was.get(key, "not set"), now.get(key, "not set")
        if key.startswith(CUSTOM) and key not in now:
            yield (
                f"the condition G5.{key.removeprefix(CUSTOM)} ({before}) is not defined any more: keep it in "
                "conftest.py, and name that file to `tinyworlds-gate verdict` with --conftest"
            )
        elif before != after:
            yield f"{key} was {before} and is now {after}"


def _short(digest: str | None) -> str:
    return "none" if digest is None else f"{digest[:SHOWN_DIGITS]}…"


def _clean(dirty: bool | None) -> str:
    if dirty is None:
        return "in no git repository"
    return "changed since its commit" if dirty else "as committed"
