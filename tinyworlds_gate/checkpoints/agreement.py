"""Check that three checkpoints belong together (C4): sizes, configs, and what dynamics was trained on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tinyworlds_gate.checkpoints.describe import SIZE_NAMES, CheckpointSizes, describe_checkpoint, same_size
from tinyworlds_gate.checkpoints.integrity import verify_checkpoint
from tinyworlds_gate.checkpoints.layout import MANIFEST_FILE, CheckpointRef, folder_name
from tinyworlds_gate.checkpoints.published import published_name
from tinyworlds_gate.checkpoints.read import read_state
from tinyworlds_gate.names import BACKBONE_KEYS
from tinyworlds_gate.run.hash_chain import as_event

Finding = tuple[str, bool, str]

TOKENIZER_ENTRY = "tokenizer_sha256"
LATENT_ACTIONS_ENTRY = "latent_actions_sha256"

UNKNOWN = "what it was trained on is unknown"
BY_NAME = "(no SHA-256 is recorded)"


def check_agreement(
    video: CheckpointRef | Path,
    latent: CheckpointRef | Path,
    dynamics: CheckpointRef | Path,
    expected: Mapping[str, int] | None = None,
    *,
    backbones: Mapping[str, Mapping[str, int]] | None = None,
) -> list[Finding]:
    """Findings ``("C4", holds, sentence)`` about three checkpoints that are used together.

    Args:
        video, latent, dynamics: verified checkpoints, or their folders (verified here, without the optimizer).
        expected: size name → the configs' value, such as ``{"embed_dim": 32}``; names that are no size are ignored.
        backbones: stage → its own backbone (C2 under ``--align-backbone report``): these sizes are compared for each
            stage by itself. Empty: each checkpoint's own backbone counts, whatever it is.

    Raises:
        CheckpointError: a folder holds no valid checkpoint of its stage.
    """
    refs = [_verified(video, "video_tokenizer"), _verified(latent, "latent_actions"), _verified(dynamics, "dynamics")]
    sizes = [describe_checkpoint(ref) for ref in refs]
    findings: list[Finding] = [("C4", False, conflict) for one in sizes for conflict in one.conflicts]
    for name in SIZE_NAMES:
        if backbones is not None and name in BACKBONE_KEYS:
            findings.extend(_own_size(name, sizes, backbones))
        else:
            findings.extend(_compare(name, sizes, (expected or {}).get(name)))
    if not sizes[2].conditioned:
        findings.append(("C4", False, f"{refs[2].path.name} takes no actions: it has no action-conditioned layers"))
    findings.extend(_without_manifest(refs))
    findings.extend(_trained_on(refs))
    return findings


def agreement_text(reasons: Iterable[str]) -> str:
    """What the reasons of findings that all hold show together: sizes, and the lineage only where SHA-256 show it."""
    said = [one for one in reasons if " was trained on " in one and UNKNOWN not in one]
    if len(said) == 2 and all("(SHA-256 " in one for one in said):
        return "sizes and lineage agree"
    if len(said) == 2:
        return "sizes agree; the checkpoints that dynamics was trained on are known by name only, not by SHA-256"
    return "sizes agree; the checkpoints that dynamics was trained on are unknown"


def _without_manifest(refs: list[CheckpointRef]) -> list[Finding]:
    """Name the checkpoints in a run folder of this harness whose manifest is gone; every one of ours has one."""
    return [
        (
            "C4",
            False,
            f"{ref.path.name} lies in a run of this harness and has no {MANIFEST_FILE}, so {UNKNOWN}. Restore the "
            "file or train this stage again",
        )
        for ref in refs
        if ref.manifest is None and _is_ours(ref.path)
    ]


def _is_ours(path: Path) -> bool:
    """Whether the folder lies in `<run>/<stage>/checkpoints/` of a run that trained the embedded reference."""
    try:
        with (path.resolve().parents[2] / "journal.jsonl").open("rb") as journal:
            started = as_event(journal.readline())
    except (OSError, IndexError):
        return False
    return started is not None and started.get("target") == "embedded"


def _verified(given: CheckpointRef | Path, stage: str) -> CheckpointRef:
    path = given.path if isinstance(given, CheckpointRef) else given
    if isinstance(given, CheckpointRef) and given.stage == stage:
        return given
    return verify_checkpoint(path, expected_stage=stage, require_optimizer=False)


def _compare(name: str, sizes: list[CheckpointSizes], expected: int | None) -> list[Finding]:
    known = [(one.stage, value) for one in sizes if (value := getattr(one, name)) is not None]
    if not known:
        return [] if expected is None else [("C4", False, f"{name} is in none of the checkpoints; configs: {expected}")]
    listing = ", ".join(f"{stage} {value}" for stage, value in known)
    first = known[0][1]
    if any(not same_size(name, first, value) for _, value in known):
        return [("C4", False, f"the checkpoints disagree about {name}: {listing}. Use checkpoints of one run")]
    if expected is not None and not same_size(name, first, expected):
        return [("C4", False, f"{name} is {first} in the checkpoints and {expected} in the configs. Set it to {first}")]
    sentence = f"{name} is {first} in {', '.join(stage for stage, _ in known)}"
    return [("C4", True, sentence if expected is None else f"{sentence} and in the configs")]


def _own_size(name: str, sizes: list[CheckpointSizes], backbones: Mapping[str, Mapping[str, int]]) -> list[Finding]:
    """Compare one size of the backbone of each checkpoint with the configs of its own stage."""
    findings: list[Finding] = []
    for one in sizes:
        value, expected = getattr(one, name), backbones.get(one.stage, {}).get(name)
        if value is None or expected is None:
            continue
        holds = same_size(name, value, expected)
        sentence = f"{name} of {one.stage} is {value} in the checkpoint and {expected} in the configs"
        findings.append(("C4", holds, sentence if holds else f"{sentence}. Set it to {value}"))
    return findings


def _trained_on(refs: list[CheckpointRef]) -> list[Finding]:
    """Compare the recorded SHA-256; in a checkpoint of TinyWorlds, the folder names in the dynamics config, if any."""
    dynamics = refs[2]
    config = read_state(dynamics.path).get("config") if dynamics.manifest is None else None
    keys = ((TOKENIZER_ENTRY, "video_tokenizer_path"), (LATENT_ACTIONS_ENTRY, "latent_actions_path"))
    findings: list[Finding] = []
    for used, (entry, config_key) in zip(refs[:2], keys, strict=True):
        if dynamics.manifest is not None:
            findings.append(_by_hash(dynamics, used, dynamics.manifest.get(entry), entry))
        elif isinstance(config, Mapping) and isinstance(config.get(config_key), str) and config[config_key]:
            findings.append(_by_name(dynamics, used, config[config_key]))
        elif not _is_ours(dynamics.path):
            missing = f"{dynamics.path.name} has no {MANIFEST_FILE} and its config names no {used.stage}"
            findings.append(("C4", True, f"{missing}, so {UNKNOWN}"))
    return findings


def _by_hash(dynamics: CheckpointRef, used: CheckpointRef, recorded: Any, entry: str) -> Finding:
    name = dynamics.path.name
    if not isinstance(recorded, str):
        return ("C4", False, f"{name} does not record {entry} in its manifest, so {UNKNOWN}")
    if recorded != used.model_sha256:
        return (
            "C4",
            False,
            f"{name} was trained on a {used.stage} with SHA-256 {recorded[:12]}…, but {used.path.name} has "
            f"{used.model_sha256[:12]}…. Give the {used.stage} checkpoint that it was trained on, or retrain dynamics",
        )
    return ("C4", True, f"{name} was trained on {used.path.name} (SHA-256 {recorded[:12]}…)")


def _by_name(dynamics: CheckpointRef, used: CheckpointRef, recorded: str) -> Finding:
    name = Path(recorded.replace("\\", "/").rstrip("/")).name
    published = published_name(name)
    if published is not None and published[1] is not None:
        name = folder_name(published[0], published[1])
    if name != used.path.name:
        return ("C4", False, f"{dynamics.path.name} was trained on {name} by its config, but {used.path.name} is given")
    return ("C4", True, f"{dynamics.path.name} was trained on a {name} by its config {BY_NAME}")
