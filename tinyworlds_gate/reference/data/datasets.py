"""Find the frames file of a dataset name; the file of some games is made at first use, others must exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tinyworlds_gate.config.yaml_io import did_you_mean
from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.frames_file import (
    SHOWN_NAMES,
    check_frames_file,
    making_command,
    remedy,
    stride_from_fps,
)
from tinyworlds_gate.reference.data.game_table import DEFAULT_FRAME_SIZE, GAMES, game_of
from tinyworlds_gate.reference.data.progress import Progress

ZELDA = "ZELDA"


def dataset_path(project_root: Path, dataset: str, frame_size: int) -> Path:
    """Return ``data/<name>_frames.h5`` in lower case, or a game's own name (``data/crafter_<size>px_frames.h5``)."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", dataset):
        raise DataError(
            f"dataset: {dataset!r} is not a name; letters, digits, - and _ are allowed (fix: CRAFTER or ZELDA)"
        )
    game = game_of(dataset)
    name = f"{dataset.lower()}_frames.h5" if game is None else game.file_name(frame_size)
    return project_root / "data" / name


def made_by_runs(dataset: str) -> bool:
    """Whether a run makes the file of this dataset itself if it is missing."""
    game = game_of(dataset)
    return game is not None and game.made_by_runs


def found_datasets(folder: Path) -> list[str]:
    """Return the names of the datasets whose frames files are in a data folder, in upper case and sorted."""
    names = set()
    for path in folder.glob("[!.]*_frames.h5"):
        game = next((game.name for game in GAMES.values() if game.size_in(path.name) is not None), None)
        name = game or path.name.removesuffix("_frames.h5")
        if path.is_file() and path.name == path.name.lower() and not name.endswith("_held_out"):
            names.add(name.upper())
    return sorted(names)


def missing_dataset(path: Path, dataset: str) -> str | None:
    """Return why the frames of ``--dataset`` cannot be used, with what is there and the fix; None where they exist."""
    if path.is_file():
        return None
    found, known = found_datasets(path.parent), {name.upper() for name in GAMES}
    shown = [*found[:SHOWN_NAMES], *(["…"] if len(found) > SHOWN_NAMES else [])]
    fix = f"run `{_making_command(path, dataset)}`"
    if dataset.upper() not in {*known, ZELDA}:
        fix += f", or for a game `tinyworlds-gate data make {'|'.join(GAMES)}`"
    meant = did_you_mean(dataset.upper(), sorted({*found, *known, ZELDA}))
    return (
        f"--dataset {dataset} needs the frames file {path}, which does not exist (found there: "
        f"{', '.join(shown) or 'no frames file'}); fix: {fix}, or choose a dataset that is there."
        f"{'' if dataset.upper() in {*known, ZELDA} else meant}"
    )


def _making_command(path: Path, dataset: str) -> str:
    """Return the command that writes the frames of a dataset to ``path``, typed in the current folder."""
    game, root = game_of(dataset), path.parent.parent
    if game is None:
        command, elsewhere = making_command(path.name), f" --project-root {shlex.quote(str(root))}"
        return command if root == Path.cwd() else command + elsewhere
    command, usual = f"tinyworlds-gate data make {game.name}", Path.cwd() / "data" / game.file_name(DEFAULT_FRAME_SIZE)
    return command if path == usual else f"{command} --output {shlex.quote(str(path))}"


def dataset_stride(path: Path, dataset: str, fps: int) -> int:
    """Return the stride at which to read a dataset for ``fps`` frames per second.

    A file that records its rate (`data import`): the rate / fps. A generated game has one frame per game step: 1.
    Otherwise 60 frames per second are assumed, as in ZELDA: 60 // 15 = 4.
    """
    stride = stride_from_fps(fps)
    if made_by_runs(dataset):
        return 1
    attrs = check_frames_file(path).attrs
    recorded = attrs.get("fps")
    if recorded is not None:
        return max(1, round(float(recorded) / fps))
    return 1 if "game" in attrs else stride


def ensure_dataset(
    project_root: Path,
    dataset: str,
    frame_size: int,
    *,
    num_frames: int,
    episode_length: int,
    seed: int,
    progress: Progress | None = None,
) -> Path:
    """Return the path of a valid frames file; make it first when it is missing and runs make it (CRAFTER).

    An existing file is never overwritten; ``dataset_notes`` reports how it differs from the settings. Raises
    ``DataError`` when the file is broken, or when another dataset is missing (with the command that creates it).
    """
    path, game = dataset_path(project_root, dataset, frame_size), game_of(dataset)
    if game is not None and game.made_by_runs and not path.exists():
        from tinyworlds_gate.reference.data.game_dataset import make_game

        make_game(
            path,
            game,
            num_frames=num_frames,
            frame_size=frame_size,
            episode_length=episode_length,
            seed=seed,
            progress=progress,
            reuse=True,
        )
    info = check_frames_file(path)
    if game is not None and game.made_by_runs and (info.height, info.width) != (frame_size, frame_size):
        raise DataError(
            f"{path} holds frames of {info.height} x {info.width} px, but its name says {frame_size}; {remedy(path)}"
        )
    return path


def dataset_notes(path: Path, *, num_frames: int, episode_length: int, seed: int) -> list[str]:
    """Return a sentence for each setting in which an existing generated file differs from the current settings."""
    attrs = check_frames_file(path).attrs
    settings = {"num_frames": num_frames, "episode_length": episode_length, "seed": seed}
    return [
        f"{path.name} was made with {name} {attrs[name]}, not {value}; it is used as it is (move it away to replace it)"
        for name, value in settings.items()
        if name in attrs and attrs[name] != value
    ]
