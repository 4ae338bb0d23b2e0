"""The command `tinyworlds-gate accept results/RUN …`: make passed runs the project's baseline, `docs/baseline.json`.

Several runs are several seeds of one recipe. Beside the file lies the film strip of the last one, `baseline.png`.

Exit status: 0 written, 2 refused, and nothing was written.
"""

from __future__ import annotations

import argparse
import hashlib
import os
from pathlib import Path

from tinyworlds_gate.cli.unreadable_events import reads_journals
from tinyworlds_gate.compare.baseline_file import (
    AcceptedRun,
    Baseline,
    BaselineError,
    baseline_with,
    bound_fields,
    is_baseline,
    read_baseline,
)
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.gate.extension import ClipMetric, load_conftest
from tinyworlds_gate.loop.recheck import verdict_now
from tinyworlds_gate.loop.scorecards import scorecards_of_run
from tinyworlds_gate.reports.model import load_record
from tinyworlds_gate.run.atomic import atomic_write
from tinyworlds_gate.run.formats import size_text
from tinyworlds_gate.run.layout import project_of_run
from tinyworlds_gate.run.lock import live_holder
from tinyworlds_gate.run.owned import read_owned
from tinyworlds_gate.run.redact import redact

INTO = Path("docs/baseline.json")
MOST_PICTURE_BYTES = 2 * 2**20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="results/RUN", help="folders of runs that passed, one a seed"
    )
    parser.add_argument(
        "--into", type=Path, default=INTO, metavar="FILE.json", help="the baseline's file (default: %(default)s)"
    )
    parser.add_argument(
        "--conftest",
        type=Path,
        metavar="FILE",
        help="the Python file that defines the runs' own conditions (docs/extending.md); it is executed",
    )


@reads_journals
def run(args: argparse.Namespace) -> int:
    """Check every run, then write the baseline and its film strip.

    Raises:
        GateError: a verdict does not hold or is no pass, the runs are not of one recipe, or the file is none of ours.
    """
    if args.into.suffix.lower() != ".json":
        raise GateError(f"--into {args.into}: the baseline is a JSON file; end its name in .json.")
    _require_replaceable(args.into)
    custom = load_conftest(args.conftest) if args.conftest else ()
    accepted = [accepted_run(folder, custom) for folder in args.runs]
    strip = film_strip_of(args.runs[-1])
    baseline = baseline_with(accepted, None if strip is None else hashlib.sha256(strip).hexdigest())
    text, picture = baseline.as_text(), args.into.with_suffix(".png")
    _require_own_picture(args.into, picture)
    try:
        if strip is not None:
            atomic_write(picture, strip)
        elif picture.is_file():
            picture.unlink()
        atomic_write(args.into, text)
    except OSError as error:
        raise GateError(f"--into {args.into}: it cannot be written ({error.strerror}); name another place.") from error
    print(redact(_summary(args.into, baseline, len(text.encode()), picture if strip is not None else None)))
    return 0


def accepted_run(folder: Path, custom: tuple[ClipMetric, ...] = ()) -> AcceptedRun:
    """Return a run whose verdict holds for the files on the disk and is a pass.

    Raises:
        GateError: it does not hold, is no pass, or the run is still going on.
    """
    place = folder.resolve()
    root = project_of_run(place, folder)
    holder = live_holder(root)
    if holder is not None and holder.run == place.name:
        raise GateError(
            f"{folder} is still going on, in {holder.describe()}; nothing was accepted. Wait until it ends."
        )
    now = verdict_now(folder, custom=custom)
    if not now.holds:
        raise GateError(
            f"{folder}: its verdict does not hold for the files on the disk, so it cannot be a baseline: "
            f"{'; '.join(now.changes[:3])}. `tinyworlds-gate verdict {folder}` lists everything."
        )
    if not now.passed:
        raise GateError(f"{folder}: only a pass can be a baseline, and its verdict is {now.verdict}: {now.sentence}")
    record = load_record(root, place)
    cards = tuple(scorecards_of_run(record))
    return AcceptedRun(record.run, now.verdict, now.sentence, record.timestamp, bound_fields(now.binding), cards)


def film_strip_of(folder: Path) -> bytes | None:
    """Return the film strip of a run's last verdict; None where there is none of at most 2 MiB."""
    place = folder.resolve()
    root = project_of_run(place, folder)
    last = load_record(root, place).last_attempt
    name = ((last.drawn if last is not None else None) or {}).get("film_strip")
    if not name:
        return None
    try:
        content: bytes = read_owned(root, str(name), MOST_PICTURE_BYTES)
    except OSError:
        return None
    return content if content.startswith(b"\x89PNG") and len(content) <= MOST_PICTURE_BYTES else None


def _require_replaceable(path: Path) -> None:
    if not os.path.lexists(path):
        return
    if path.is_symlink() or not path.is_file():
        raise GateError(f"--into {path}: it is a link or no file, so it is not replaced; name another place.")
    if not is_baseline(path):
        raise GateError(f"--into {path}: it is no baseline, so it is not replaced; move it away or name another file.")


def _require_own_picture(path: Path, picture: Path) -> None:
    """Refuse to replace a picture that no earlier baseline wrote."""
    if not os.path.lexists(picture):
        return
    try:
        ours = read_baseline(path).picture_sha256 if path.is_file() else None
        digest = hashlib.sha256(picture.read_bytes()).hexdigest() if picture.is_file() else ""
    except (BaselineError, OSError):
        ours, digest = None, ""
    if picture.is_symlink() or ours is None or digest != ours:
        raise GateError(
            f"{picture}: no earlier baseline wrote this picture, so it is not replaced; move it away or name another "
            "--into."
        )


def _summary(path: Path, baseline: Baseline, size: int, picture: Path | None) -> str:
    lines = [
        f"accepted {one.run}: {one.verdict}, MSE {one.cards[0].mse:.4f} on {len(one.cards[0].clips)} clips of "
        f"{one.cards[0].episodes} episodes"
        for one in baseline.accepted
    ]
    beside = f", and {picture} with its film strip" if picture is not None else ""
    lines.append(f"{path}: {size_text(size)}{beside}. Commit it; compare with it: --baseline {path} --fail-on worse")
    return "\n".join(lines)
