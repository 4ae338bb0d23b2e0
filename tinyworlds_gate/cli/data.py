"""The command ``tinyworlds-gate data make | fetch | import | export | hold-out | show``."""

from __future__ import annotations

import argparse
from pathlib import Path

from tinyworlds_gate.config.cli_values import parse_whole
from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.game_table import DEFAULT_FRAME_SIZE, GAMES

DEFAULT_NUM_FRAMES = 6000
DEFAULT_EPISODE_LENGTH = 125


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands and their arguments."""
    commands = parser.add_subparsers(
        dest="data_command", required=True, metavar="make|fetch|import|export|hold-out|show"
    )
    _add_make(commands.add_parser("make", help="play a game and write its frames"))
    _add_fetch(commands.add_parser("fetch", help="download the original ZELDA frames from the hub"))
    _add_import(commands.add_parser("import", help="turn videos, or a file of another layout, into a frames file"))
    _add_export(commands.add_parser("export", help="write a frames file in the layout of another program"))
    _add_hold_out(
        commands.add_parser("hold-out", help="split a frames file into one for training and one that is held out")
    )
    _add_show(commands.add_parser("show", help="write a contact sheet PNG and print the numbers of a frames file"))


def _add_root(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--project-root", type=Path, default=Path(), help="folder that holds data/ (default: here)")


def _add_make(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("game", choices=list(GAMES), help="the game to play")
    parser.add_argument(
        "--frame-size", type=parse_whole, default=DEFAULT_FRAME_SIZE, help="pixels (default: %(default)s)"
    )
    parser.add_argument("--num-frames", type=parse_whole, default=DEFAULT_NUM_FRAMES, help="default: %(default)s")
    parser.add_argument(
        "--episode-length",
        type=parse_whole,
        default=DEFAULT_EPISODE_LENGTH,
        help="frames of an episode (default: %(default)s)",
    )
    parser.add_argument("--seed", type=parse_whole, default=0, help="crafter: 0 to 49999 (default: %(default)s)")
    parser.add_argument(
        "--workers", type=parse_whole, default=None, help="processes, default: the CPUs; same bytes with any"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=None,
        help="default: data/<game>_frames.h5, for crafter data/crafter_<size>px_frames.h5",
    )
    _add_root(parser)
    parser.set_defaults(data_run=_make)


def _add_fetch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("game", choices=["zelda"], help="the dataset to download")
    parser.add_argument("--endpoint", default=None, help="address of the hub (default: environment HF_ENDPOINT)")
    _add_root(parser)
    parser.set_defaults(data_run=_fetch)


def _add_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        type=Path,
        metavar="VIDEO|FOLDER|FILE.h5",
        help="a video that FFmpeg can read; a folder of videos with the actions of their frames in a CSV file (header "
        "`video,frame,action`); or HDF5 with `frames` and what it records of them",
    )
    parser.add_argument("--name", required=True, help="dataset name; the file becomes data/<name>_frames.h5")
    parser.add_argument(
        "--frame-size",
        type=parse_whole,
        default=None,
        help=f"pixels; frames are first cropped to their central square (default: {DEFAULT_FRAME_SIZE}, HDF5: its own)",
    )
    parser.add_argument(
        "--fps",
        type=float,
        default=None,
        help="of a video, frames per second to take (default: 15, or the video's rate)",
    )
    _add_root(parser)
    parser.set_defaults(data_run=_import)


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="FILE|NAME", help="a frames file, or a dataset's name such as PONG")
    parser.add_argument("output", type=Path, help="the new file, or for videos the new folder")
    parser.add_argument(
        "--layout",
        required=True,
        choices=["tinyworlds", "minigrid", "videos"],
        help="HDF5 with `frames`; HDF5 with `frames actions episode_starts episode_lengths`; a lossless MP4 for each "
        "episode with the actions in actions.csv",
    )
    parser.add_argument("--frame-size", type=parse_whole, default=None, help="selects the file of CRAFTER")
    _add_root(parser)
    parser.set_defaults(data_run=_export)


def _add_hold_out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="FILE", help="all frames; it is not changed")
    parser.add_argument("--train", type=Path, required=True, metavar="FILE", help="new file: frames for training")
    parser.add_argument("--held-out", type=Path, required=True, metavar="FILE", help="new file: held-out frames")
    parser.add_argument("--fraction", type=float, default=0.1, help="held-out fraction (default: %(default)s)")
    parser.add_argument("--seed", type=parse_whole, default=0, help="seed of the choice of episodes (default: 0)")
    parser.add_argument(
        "--spans",
        type=parse_whole,
        default=50,
        help="spans to split into, if FILE has no episodes (default: %(default)s)",
    )
    parser.set_defaults(data_run=_hold_out)


def _add_show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="FILE|NAME", help="a frames file, or a dataset's name such as CRAFTER")
    parser.add_argument(
        "--frame-size", type=parse_whole, default=None, help="show at this size; selects the file of CRAFTER"
    )
    parser.add_argument(
        "--stride", type=parse_whole, default=1, help="show every n-th frame (ZELDA trains at 4; default: 1)"
    )
    parser.add_argument("--output", type=Path, default=None, help="PNG (default: <file>_contact_sheet.png beside it)")
    _add_root(parser)
    parser.set_defaults(data_run=_show)


def run(args: argparse.Namespace) -> int:
    """Run the chosen subcommand and return its exit code.

    Raises:
        DataError: a file is missing, malformed or cannot be written.
    """
    return int(args.data_run(args))


def _make(args: argparse.Namespace) -> int:
    from tinyworlds_gate.reference.data.datasets import dataset_path
    from tinyworlds_gate.reference.data.game_dataset import make_game
    from tinyworlds_gate.reference.data.progress import console_progress

    path = args.output or dataset_path(args.project_root, args.game, args.frame_size)
    numbers = {name: getattr(args, name) for name in ("num_frames", "frame_size", "episode_length", "seed", "workers")}
    print(GAMES[args.game].notice)
    with console_progress(f"{args.game.capitalize()} frames") as progress:
        make_game(path, GAMES[args.game], **numbers, progress=progress)
    print(f"{path}: {args.num_frames} frames; use `--dataset {args.game.upper()}`")
    return 0


def _fetch(args: argparse.Namespace) -> int:
    from tinyworlds_gate.reference.data.fetch import fetch_zelda
    from tinyworlds_gate.reference.data.frames_file import check_frames_file

    path = fetch_zelda(args.project_root, args.endpoint)
    info = check_frames_file(path)
    print(f"{path}: {info.num_frames} frames of {info.height} x {info.width} px")
    return 0


def _import(args: argparse.Namespace) -> int:
    from tinyworlds_gate.reference.data.frames_file import check_frames_file
    from tinyworlds_gate.reference.data.import_folder import import_folder
    from tinyworlds_gate.reference.data.import_hdf5 import import_hdf5, is_hdf5
    from tinyworlds_gate.reference.data.import_video import import_video
    from tinyworlds_gate.reference.data.progress import console_progress

    source, size = args.source, args.frame_size
    of_video = not source.is_dir() and not is_hdf5(source)
    if args.fps is not None and not of_video:
        raise DataError(f"--fps {args.fps:g} is for a video; every frame of {source} is taken (fix: leave it out)")
    with console_progress("frames") as progress:
        where = {"project_root": args.project_root, "progress": progress}
        if of_video:
            path, notes = import_video(source, args.name, frame_size=size or DEFAULT_FRAME_SIZE, fps=args.fps, **where)
        elif source.is_dir():
            path, notes = import_folder(source, args.name, frame_size=size or DEFAULT_FRAME_SIZE, **where)
        else:
            path, notes = import_hdf5(source, args.name, frame_size=size, **where)
    info = check_frames_file(path)
    rate = f" at {info.attrs['fps']:g} a second" if "fps" in info.attrs else ""
    print(f"{path}: {info.num_frames} frames{rate}; use `--dataset {args.name.upper()}`")
    for note in notes:
        print(f"{source.name}: {note}")
    return 0


def _export(args: argparse.Namespace) -> int:
    from tinyworlds_gate.reference.data.export_frames import export_frames
    from tinyworlds_gate.reference.data.progress import console_progress

    source = _named_file(args)
    with console_progress("frames") as progress:
        left_out = export_frames(source, args.output, args.layout, progress=progress)
    names = ", ".join(f"`{name}`" for name in left_out)
    print(f"{args.output}: layout {args.layout}{f'; it has no place for {names}' if names else ''}")
    return 0


def _hold_out(args: argparse.Namespace) -> int:
    from tinyworlds_gate.reference.data.cut_held_out import hold_out

    cut = hold_out(args.source, args.train, args.held_out, fraction=args.fraction, seed=args.seed, spans=args.spans)
    print(f"{args.train}: {cut.train_frames} frames to train on")
    print(f"{args.held_out}: {cut.held_out_frames} frames of {cut.held_out_episodes} episodes, held out")
    return 0


def _show(args: argparse.Namespace) -> int:
    from tinyworlds_gate.reference.data.contact_sheet import describe, measure, write_contact_sheet
    from tinyworlds_gate.reference.data.frames_file import load_frames

    path = _named_file(args)
    data = load_frames(path, frame_size=args.frame_size, stride=args.stride)
    output = args.output or path.with_name(f"{path.stem}_contact_sheet.png")
    write_contact_sheet(data, output)
    print(f"file              {path}\n{describe(measure(data))}\ncontact sheet     {output}")
    return 0


def _named_file(args: argparse.Namespace) -> Path:
    """Return the file of that path or, if there is none, of that dataset name."""
    from tinyworlds_gate.reference.data.datasets import dataset_path
    from tinyworlds_gate.reference.data.game_table import game_of

    given, game = Path(args.source), game_of(args.source)
    if given.exists() or given.suffix or len(given.parts) > 1:
        return given
    if game is not None and "{size}" in game.file and args.frame_size is None:
        made = sorted((args.project_root / "data").glob(game.file.format(name=game.name, size="*")))
        if len(made) > 1:
            sizes = ", ".join(path.name for path in made)
            raise DataError(f"{args.source.upper()} names several files ({sizes}); fix: name one with --frame-size")
        if made:
            return made[0]
    return dataset_path(args.project_root, args.source, args.frame_size or DEFAULT_FRAME_SIZE)
