"""On which frames the models that a run measures were trained.

A run records the codes of its training frames once, in ``results/<run>/training_frames.h5``, together with those of the
checkpoints that it starts from. The manifests of its checkpoints name the SHA-256 of that file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tinyworlds_gate.checkpoints.integrity import sha256_of
from tinyworlds_gate.checkpoints.layout import CheckpointRef
from tinyworlds_gate.checkpoints.read import read_state
from tinyworlds_gate.errors import CheckpointError, DataError, GateError
from tinyworlds_gate.reference.data.frame_codes import KnownFrames, known_frames, read_known
from tinyworlds_gate.reference.data.frames_file import FramesData, episode_of_frames, open_frames, remedy
from tinyworlds_gate.reference.data.frames_reader import iter_blocks
from tinyworlds_gate.reference.data.split import split_episodes
from tinyworlds_gate.run.journal import Event, last_event, read_journal
from tinyworlds_gate.run.layout import TRAINING_FRAMES

NO_MANIFEST = "it has no manifest: it was not trained by this harness, or was published as a single file"


@dataclass(frozen=True)
class TrainedOn:
    """The training frames of all models that a run measures; ``unknown``: stage → why its frames are not known."""

    sources: Sequence[KnownFrames] = ()
    unknown: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    """Stage of a supplied checkpoint → its training frames, for people."""

    @property
    def frames(self) -> int:
        """Number of frames."""
        return sum(one.count for one in self.sources)

    @property
    def names(self) -> list[str]:
        """The frames files."""
        return list(dict.fromkeys(one.name for one in self.sources))


@dataclass(frozen=True)
class Split:
    """Fraction and seed by which the episodes of a file were split."""

    held_out_fraction: float
    split_seed: int


def frames_of_file(path: Path, episode: np.ndarray, stride: int) -> KnownFrames:
    """Return the codes of all frames of a file, those that the stride skips too.

    ``episode`` [N] is that of each frame at the stride, as ``load_frames`` returns it.

    Raises:
        DataError: the file is missing or damaged.
    """
    with open_frames(path, remedy(path)) as file:
        frames = file["frames"]
        of_frame = episode_of_frames(file)
        if of_frame is None:
            of_frame = episode[np.minimum(np.arange(frames.shape[0]) // stride, len(episode) - 1)]
        return known_frames(iter_blocks(frames), of_frame, np.unique(of_frame), name=path.name, stride=stride)


def frames_of_data(data: FramesData) -> KnownFrames:
    """Return the codes of loaded frames, or of all frames of the file where a stride skipped some."""
    if data.stride > 1:
        return frames_of_file(data.path, data.episode, data.stride)
    return known_frames([(0, data.frames)], data.episode, np.unique(data.episode), name=data.path.name, stride=1)


def part_of(known: KnownFrames, data: FramesData, which: Sequence[int]) -> KnownFrames:
    """Return the codes of some episodes of loaded frames, from those of all."""
    return known.of_episodes(which, int(np.isin(data.episode, np.array(which)).sum()))


@dataclass(frozen=True)
class FramesAtHand:
    """The frames file that clips are drawn from.

    ``known``: the codes of all its frames. ``split``: that of the run, which a checkpoint that was trained on this file
    must share; None accepts any.
    """

    data: FramesData
    sha256: str
    known: KnownFrames
    split: Split | None = None


def frames_of_checkpoint(
    reference: CheckpointRef, project_root: Path, at_hand: FramesAtHand
) -> tuple[list[KnownFrames], str]:
    """Return the training frames of a checkpoint as far as they are known, and why others are not; empty: none are.

    Raises:
        CheckpointError: it was trained on other episodes of the file at hand.
        DataError: the recorded codes are damaged.
    """
    manifest = reference.manifest or {}
    own = manifest.get("data_sha256")
    trained = _trained_episodes(reference, at_hand) if own is not None and own == at_hand.sha256 else None
    recorded = manifest.get("training_frames_sha256") or _journalled(reference)
    if recorded is not None:
        for path in _places(reference, project_root):
            if path.is_file() and sha256_of(path) == recorded:
                sources, unknown = read_known(path)
                return sources, "; ".join(f"{stage}: {why}" for stage, why in unknown.items())
    if trained is not None:
        continued = "it was continued from a checkpoint of other training frames" if manifest.get("other_data") else ""
        return [part_of(at_hand.known, at_hand.data, trained)], continued
    if recorded is not None:
        return [], (
            f"the codes of its training frames (SHA-256 {str(recorded)[:12]}…) are not in results/*/{TRAINING_FRAMES}; "
            "put the folder of its run back"
        )
    if own is None:
        return [], NO_MANIFEST
    return [], f"its manifest names a frames file with SHA-256 {str(own)[:12]}…, of whose frames no codes were recorded"


def _trained_episodes(reference: CheckpointRef, at_hand: FramesAtHand) -> tuple[int, ...]:
    data, split = at_hand.data, at_hand.split
    config = read_state(reference.path).get("config")
    config = config if isinstance(config, Mapping) else {}
    fraction, seed = config.get("held_out_fraction"), config.get("split_seed")
    if not isinstance(fraction, int | float) or not isinstance(seed, int):
        return tuple(np.unique(data.episode).tolist())
    if split is not None and Split(fraction, seed) != split:
        raise CheckpointError(
            f"{reference.path}: it was trained on {data.path.name} with held_out_fraction={fraction:g} and "
            f"split_seed={seed}, this run uses {split.held_out_fraction:g} and {split.split_seed}, so training clips "
            "would be measured. Set the values of the checkpoint in profile.yaml and training.yaml"
        )
    return split_episodes(data.episode, float(fraction), seed).train


def _places(reference: CheckpointRef, project_root: Path) -> Iterable[Path]:
    """Where the codes can be: the run of the checkpoint first, then all runs beside it and of the project."""
    if len(reference.path.parents) > 3:
        yield reference.path.parents[2] / TRAINING_FRAMES
        yield from sorted(reference.path.parents[3].glob(f"*/{TRAINING_FRAMES}"))
    yield from sorted((project_root / "results").glob(f"*/{TRAINING_FRAMES}"))


def _journalled(reference: CheckpointRef) -> str | None:
    """The SHA-256 in the journal of its run, for a checkpoint whose manifest names none, such as those of checkouts."""
    if len(reference.path.parents) <= 2:
        return None
    journal = reference.path.parents[2] / "journal.jsonl"
    if not journal.is_file():
        return None
    try:
        events = read_journal(journal)
    except (GateError, OSError):
        return None
    made = {(one.get("checkpoint") or {}).get("sha256") for one in events if one["event"] == "chunk_finished"}
    ready = last_event(events, "dataset_ready") or {}
    return (ready.get("provenance") or {}).get("sha256") if reference.model_sha256 in made else None


def trained_on(
    project_root: Path,
    at_hand: FramesAtHand,
    supplied: Mapping[str, CheckpointRef],
    own: Sequence[KnownFrames],
) -> TrainedOn:
    """Return the training frames of a run's models: ``own``, on which it trains, and those of supplied checkpoints.

    Raises:
        CheckpointError: a supplied checkpoint was trained on other episodes of the file at hand.
        DataError: recorded codes are damaged.
    """
    sources, unknown, texts = list(own), dict[str, str](), dict[str, str]()
    for stage, reference in supplied.items():
        found, why = frames_of_checkpoint(reference, project_root, at_hand)
        sources += found
        unknown |= {stage: why} if why else {}
        known = [f"{one.count} frames of {one.name}" for one in found]
        texts[stage] = ", ".join([*known, f"not known: {why}"] if why else known)
    distinct: dict[bytes, KnownFrames] = {}
    for one in sources:
        distinct.setdefault(one.frame.tobytes() + one.codes.tobytes(), one)
    return TrainedOn(list(distinct.values()), unknown, texts)


def training_frames_now(events: Sequence[Event], run_folder: Path) -> list[Event]:
    """Return the events of a run whose ``provenance`` is that of its file of training frames, where the file is there.

    An unreadable file, or one that is not the recorded one, makes the training frames unknown.
    """
    ready, path = last_event(list(events), "dataset_ready"), run_folder / TRAINING_FRAMES
    provenance = (ready or {}).get("provenance")
    if ready is None or provenance is None or not path.is_file():
        return list(events)
    try:
        sources, unknown = read_known(path)
        now = provenance | {"frames": sum(one.count for one in sources), "unknown": unknown}
    except DataError as error:
        now = provenance | {"unchecked": str(error)}
    if sha256_of(path) != provenance.get("sha256"):
        now |= {"unchecked": f"{path.name} is not the file that the run recorded"}
    return [one | {"provenance": now} if one is ready else one for one in events]
