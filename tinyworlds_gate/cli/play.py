"""The command `tinyworlds-gate play`: drive a trained model with the keyboard, on a page of this machine.

    tinyworlds-gate play results/RUN --open
    tinyworlds-gate play CHECKPOINTS --frames FILE.h5
    tinyworlds-gate play results/RUN --measure 200

Exit status: 0, or 2 when the model, its frames or the address cannot be used. Ctrl-C is the usual end.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinyworlds_gate.checkpoints.integrity import sha256_of
from tinyworlds_gate.checkpoints.layout import MODEL_FILE, list_checkpoints
from tinyworlds_gate.checkpoints.resolve import resolve_checkpoint
from tinyworlds_gate.cli.score_options import (
    DEFAULTS,
    OPTION_OF_STAGE,
    add_checkpoint_arguments,
    add_rollout_arguments,
    fill_in,
    given_checkpoints,
)
from tinyworlds_gate.cli.sweep_run import SweptRun, find_run
from tinyworlds_gate.config.cli_values import parse_count, parse_positive_int
from tinyworlds_gate.errors import CheckpointError, ConfigError, GateError
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.run.journal import events_of

if TYPE_CHECKING:
    from tinyworlds_gate.play.world import Wanted

PORT = 8765
INSTALL = "pip install 'tinyworlds_gate[play]'"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments; what a run records is its default."""
    add_world_arguments(parser, frames="frames to start from", seed="of samples, where the rollout samples")
    parser.add_argument(
        "--host",
        type=_host,
        default="127.0.0.1",
        help="address to listen on (default: %(default)s, this machine only); another one needs the token of the "
        "address that is printed",
    )
    parser.add_argument(
        "--port", type=_port, default=PORT, help="0 takes a free one and prints it (default: %(default)s)"
    )
    parser.add_argument("--open", action="store_true", help="open the page in a browser")
    parser.add_argument(
        "--measure",
        type=parse_positive_int,
        metavar="N",
        help="generate N frames without a server, and print frames/s and latency as JSON",
    )


def add_world_arguments(parser: argparse.ArgumentParser, *, frames: str, seed: str) -> None:
    """Add the arguments that name a model, its frames and how it generates; with what two of them are for."""
    parser.add_argument(
        "where",
        nargs="?",
        metavar="RUN|CHECKPOINTS",
        help="a run (its name, or its folder results/RUN), or a folder with checkpoints of the three stages",
    )
    add_checkpoint_arguments(parser)
    parser.add_argument("--frames", type=Path, metavar="F.h5", help=f"{frames} (default: those of the run)")
    add_rollout_arguments(parser)
    parser.add_argument("--seed", type=parse_count, help=f"{seed} (default: 0)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto")


def run(args: argparse.Namespace) -> int:
    """Load the model, then serve until Ctrl-C, or measure.

    Raises:
        GateError: the model, its frames or the address cannot be used; exit status 2.
    """
    if args.measure is None and importlib.util.find_spec("aiohttp") is None:
        raise GateError(f"play needs the package aiohttp, which is not installed; fix: {INSTALL}")
    wanted = requested(args)
    from tinyworlds_gate.play.driver import Driver, measure
    from tinyworlds_gate.play.world import open_world

    print("Loading the model, and learning from training frames what its codes do …", file=sys.stderr, flush=True)
    if args.measure is not None:
        print(json.dumps(measure(open_world(wanted, learn_meanings=False), args.measure)))
        return 0
    from tinyworlds_gate.play.server import serve

    driver = Driver(open_world(wanted))
    try:
        driver.warm_up()
        serve(driver, args.host, args.port, open_browser=args.open)
    finally:
        driver.close()
    return 0


def requested(args: argparse.Namespace, command: str = "play") -> Wanted:
    """Return checkpoints, frames and settings: those of the arguments, then of the run, then the defaults of `score`.

    ``command`` is the subcommand, for error messages.

    Raises:
        GateError: a checkpoint or the frames are missing.
    """
    from tinyworlds_gate.play.world import Wanted

    found = None if args.where is None else find_run(args.where, command)
    paths = _checkpoints(args, found, command)
    if found is not None:
        _require_own_weights(found, paths)
    other: dict[str, Any] = {}
    sha256 = split = None
    if found is not None and found.events:
        own = args.frames is None
        if own:
            args.frames, sha256 = _frames_of(found)
            split = _split_of(found)
        other = {
            key: value
            for key in ("prediction_horizon", "temperature")
            if (value := found.setting(f"inference.{key}")) is not None
        }
        values = found.rollout_values() | {"tf32": bool(found.setting("inference.tf32"))}
        if own and "stride" in (clips := found.clip_values(args.frames)):
            values["stride"] = clips["stride"]
        fill_in(args, {name: value for name, value in values.items() if hasattr(args, name)})
        tf32 = values["tf32"]
    else:
        tf32 = False
    fill_in(args, {name: value for name, value in DEFAULTS.items() if hasattr(args, name)})
    if args.frames is None:
        raise ConfigError("--frames is missing: checkpoints alone name no frames to start from; add --frames F.h5")
    return Wanted(
        title=paths["dynamics"].name if found is None else f"{found.name} – {paths['dynamics'].name}",
        checkpoints=paths,
        frames=args.frames,
        frames_sha256=sha256,
        split=split,
        stride=args.stride,
        context=args.context,
        device=args.device,
        tf32=tf32,
        rollout={
            "decode_steps": args.decode_steps,
            "space": args.rollout,
            "memory": args.memory_window,
            "token_choice": args.token_choice,
            "seed": args.seed,
            **other,
        },
    )


def _split_of(found: SweptRun) -> tuple[float, int] | None:
    """Held-out share and split seed of a run; None: its journal does not have them."""
    share, seed = (found.setting(f"profile.data.{key}") for key in ("held_out_fraction", "split_seed"))
    return None if share is None or seed is None else (float(share), int(seed))


def _require_own_weights(found: SweptRun, paths: Mapping[str, Path]) -> None:
    """Refuse checkpoints of a run whose weights are not those that its journal recorded when they were written."""
    recorded = [event.get("checkpoint") or {} for event in events_of(found.events, "chunk_finished")]
    digests = {found.root / str(one.get("path")): one.get("sha256") for one in recorded}
    for path in paths.values():
        digest = digests.get(path)
        if digest is not None and sha256_of(path / MODEL_FILE) != digest:
            raise CheckpointError(
                f"{found.name}: the weights of {path.name} are not those that the run wrote (SHA-256 "
                f"{str(digest)[:12]}… in its journal). Put them back, or name the checkpoints instead of the run."
            )


def _checkpoints(args: argparse.Namespace, found: SweptRun | None, command: str) -> dict[str, Path]:
    """Return the checkpoint of each stage: the newest valid dynamics, and the others as `score --sweep` takes them."""
    given = given_checkpoints(args)
    missing = [option for stage, option in OPTION_OF_STAGE.items() if stage not in given]
    if found is None and missing:
        raise ConfigError(
            f"{command} needs a model: name a run (`tinyworlds-gate {command} results/RUN`; `tinyworlds-gate runs` "
            f"lists them), a folder with checkpoints, or all three checkpoints; {', '.join(missing)} missing"
        )
    paths: dict[str, Path] = {}
    for stage in STAGES:
        if stage in given:
            paths[stage] = resolve_checkpoint(given[stage], stage, require_optimizer=False).path
        elif found is not None:
            paths[stage] = _checkpoint_of(found, stage)
    return paths


def _checkpoint_of(found: SweptRun, stage: str) -> Path:
    own = found.folder / stage / "checkpoints"
    if found.events:
        if stage != "dynamics":
            return found.other_checkpoint(stage)
        if list_checkpoints(own, stage):
            return resolve_checkpoint(own, stage, require_optimizer=False).path
        try:
            return found.other_checkpoint(stage)  # one that the run was given
        except CheckpointError as error:
            raise CheckpointError(
                f"run {found.name} has no checkpoint of dynamics in {own}, so there is no model to play; train that "
                f"stage, or name another run or {OPTION_OF_STAGE[stage]}"
            ) from error
    if own.is_dir():
        return resolve_checkpoint(own, stage, require_optimizer=False).path
    return resolve_checkpoint(found.folder, stage, require_optimizer=False).path


def _frames_of(found: SweptRun) -> tuple[Path, str]:
    try:
        return found.frames()
    except ConfigError:
        raise ConfigError(f"{found.folder}: its journal names no frames file; add --frames F.h5") from None


def _host(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("an address is needed, such as 127.0.0.1; 0.0.0.0 means all of this machine")
    return text.strip()


def _port(text: str) -> int:
    if not text.isdecimal() or not text.isascii() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; give 1 to 65535, or 0 for a free one")
    return int(text)
