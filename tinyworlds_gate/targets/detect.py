"""Detect the kind of target in a folder from its files, without importing any (docs/external-checkouts.md)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tinyworlds_gate.config.yaml_io import flatten, read_mapping
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.names import BACKBONE_KEYS, STAGES
from tinyworlds_gate.targets.capabilities import EMBEDDED, FORK, KINDS, ORIGINAL

SCRIPTS = (*(f"scripts/train_{stage}.py" for stage in STAGES), "scripts/run_inference.py")
COMMON = (*SCRIPTS, "utils/config.py", "models", "datasets", "configs")


@dataclass(frozen=True)
class Detection:
    """The kind and the signs found in the files; ``chosen``: the user set the kind."""

    kind: str
    signs: tuple[str, ...]
    chosen: bool = False

    def describe(self) -> str:
        """Return, for example, ``tinyworlds-fork (decode_steps in configs/inference.yaml, …)``."""
        by = "chosen with --target-kind; its files show: " if self.chosen else ""
        return f"{self.kind} ({by}{', '.join(self.signs) or 'no sign of either'})"


def detect(root: Path, chosen: str | None = None) -> Detection:
    """Return the kind of the target in ``root``; ``chosen`` overrides the detection.

    Raises:
        ConfigError: the folder does not exist, is no target, or its files match both kinds equally.
    """
    if not root.is_dir():
        raise ConfigError(f"--target-repo {root} is not a folder; give the root of a TinyWorlds checkout.")
    if chosen == EMBEDDED or (chosen is None and is_embedded(root)):
        return Detection(EMBEDDED, _embedded_signs(root), chosen is not None)
    absent = [name for name in COMMON if not (root / name).exists()]
    if absent and chosen is None:
        raise ConfigError(
            f"--target-repo {root} is no TinyWorlds checkout: it lacks {', '.join(absent)}. Give the root of a "
            "checkout; for a fork that renamed them, describe it with --target-file (docs/external-checkouts.md)."
        )
    signs = {ORIGINAL: original_signs(root), FORK: fork_signs(root)}
    if chosen is not None:
        return Detection(chosen, (*signs[ORIGINAL], *signs[FORK]), chosen=True)
    if len(signs[ORIGINAL]) == len(signs[FORK]):
        found = "; ".join(f"{kind}: {', '.join(names) or 'nothing'}" for kind, names in signs.items())
        raise ConfigError(
            f"--target-repo {root}: its files do not show which kind of TinyWorlds it is ({found}). Choose it with "
            f"--target-kind {ORIGINAL} or --target-kind {FORK}."
        )
    kind = max(signs, key=lambda one: len(signs[one]))
    return Detection(kind, signs[kind])


def is_embedded(root: Path) -> bool:
    """Whether the folder is a project of this harness: profiles, and no training scripts of its own."""
    return bool(_embedded_signs(root)) and not any((root / name).exists() for name in SCRIPTS)


def original_signs(root: Path) -> tuple[str, ...]:
    """Return the signs of upstream TinyWorlds' main branch."""
    training, inference = _keys(root / "configs/training.yaml"), _keys(root / "configs/inference.yaml")
    return _true(
        {
            "models/muon.py": (root / "models/muon.py").is_file(),
            "utils/optimizer_utils.py": (root / "utils/optimizer_utils.py").is_file(),
            "use_moe in configs/training.yaml": "use_moe" in training,
            "no decode_steps in configs/inference.yaml": bool(inference) and "decode_steps" not in inference,
        }
    )


def fork_signs(root: Path) -> tuple[str, ...]:
    """Return the signs of the TinyWorlds fork."""
    training, inference = _keys(root / "configs/training.yaml"), _keys(root / "configs/inference.yaml")
    dynamics = root / "scripts/train_dynamics.py"
    source = dynamics.read_text(encoding="utf-8", errors="replace") if dynamics.is_file() else ""
    return _true(
        {
            **{
                f"{key} in configs/inference.yaml": key in inference for key in ("decode_steps", "seed", "sample_index")
            },
            "the backbone in configs/training.yaml": set(BACKBONE_KEYS) <= training,
            "start_step in scripts/train_dynamics.py": "start_step" in source,
        }
    )


def require_known(kind: str) -> str:
    """Return the kind; raises ``ConfigError`` with the allowed kinds if it is unknown."""
    if kind not in KINDS:
        raise ConfigError(f"Target kind {kind!r} is not known; allowed are {', '.join(KINDS)}.")
    return kind


def _embedded_signs(root: Path) -> tuple[str, ...]:
    return _true(
        {
            "configs/profile.yaml": (root / "configs/profile.yaml").is_file(),
            "configs/profiles/": (root / "configs/profiles").is_dir(),
        }
    )


def _keys(path: Path) -> set[str]:
    return {key for key, _ in flatten(read_mapping(path))} if path.is_file() else set()


def _true(signs: dict[str, bool]) -> tuple[str, ...]:
    return tuple(name for name, holds in signs.items() if holds)
