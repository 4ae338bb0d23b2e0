"""The frames behind a comparison, for its picture: of runs whose files are there, and of files of frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinyworlds_gate.cli.compare_sources import Source
from tinyworlds_gate.cli.score_frames import read_given_frames, split_name
from tinyworlds_gate.compare.comparison import Comparison
from tinyworlds_gate.compare.picture import ClipFrames, draw_picture
from tinyworlds_gate.errors import ConfigError, GateError
from tinyworlds_gate.gate.measures.raw import read_raw
from tinyworlds_gate.gate.scorecard import digest_of
from tinyworlds_gate.reference.data.clip_reader import read_clips
from tinyworlds_gate.reference.rollout.generated_frames import read_generated
from tinyworlds_gate.reports.model import load_record
from tinyworlds_gate.run.layout import project_of_run


def draw_comparison(found: Comparison, a: Sequence[Source], b: Sequence[Source], path: Path) -> None:
    """Draw the clips that changed most, with the frames of the first model of each side.

    Raises:
        ConfigError: the picture cannot be written.
    """
    wanted = {str(clip["digest"]) for clip in found.changed_clips}
    sides = [frames_of(side[0], wanted) for side in (a, b)]
    try:
        draw_picture(found, sides[0], sides[1], path)
    except OSError as error:
        raise ConfigError(f"--picture {path}: it cannot be written ({error.strerror}); name another place.") from error


def frames_of(source: Source, wanted: set[str]) -> dict[str, ClipFrames]:
    """Return the frames of these clips; none where the source holds numbers alone, or its files are gone."""
    try:
        if source.frames is not None:
            given = read_given_frames(*split_name(source.frames))
            return _chosen(given.context, given.true, given.generated, wanted)
        return {} if source.run is None else _of_run(source.run, wanted)
    except (GateError, OSError):
        return {}


def _of_run(folder: Path, wanted: set[str]) -> dict[str, ClipFrames]:
    place = folder.resolve()
    record = load_record(project_of_run(place, folder), place)
    found: dict[str, ClipFrames] = {}
    for attempt in record.attempts:
        if attempt.verdict is None or attempt.finished is None or found:
            continue
        measures = record.project_root / str(attempt.finished.get("measures_file"))
        raw, dataset = read_raw(measures), record.dataset or {}
        path = dataset.get("evaluation") or {} if attempt.on_evaluation_set else dataset
        generated = read_generated(measures.with_name(Path(str(raw["generated_frames"])).name)).predicted
        context, starts = int(raw["context"]), np.array([clip["start"] for clip in raw["clips"]], np.int64)
        clips = read_clips(
            record.project_root / str(path.get("path")),
            starts,
            context + int(raw["generation_steps"]),
            frame_size=int(raw["frame_size"]),
            stride=int(raw["stride"]),
        ).frames
        if len(generated) == len(clips):
            found = _chosen(clips[:, :context], clips[:, context:], generated, wanted)
    return found


def _chosen(context: np.ndarray, true: np.ndarray, made: np.ndarray, wanted: set[str]) -> dict[str, ClipFrames]:
    digests = [digest_of(*one) for one in zip(context, true, strict=True)]
    return {one: ClipFrames(true[clip], made[clip]) for clip, one in enumerate(digests) if one in wanted}
