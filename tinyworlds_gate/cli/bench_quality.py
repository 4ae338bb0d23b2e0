"""`tinyworlds-gate bench quality`: seconds from the launch of a loop until its model is good.

    tinyworlds-gate bench quality --profile longrun-crafter --nproc-per-node 1 --json quality.json
    tinyworlds-gate bench quality --run results/RUN

The loop runs as a user runs it, in a pytest session of its own, and keeps a checkpoint of dynamics every ``--every``
updates. Each is scored afterwards, so that scoring costs the training nothing. The result is written again after each
scored checkpoint.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinyworlds_gate.bench.quality_report import draw_quality, quality_text, sentences
from tinyworlds_gate.bench.quality_time import RunClock, first_reached, parts_of, saving_cost, scoring_order
from tinyworlds_gate.cli.score_models import plain
from tinyworlds_gate.cli.sweep_run import SweptRun, find_run
from tinyworlds_gate.config.cli_values import parse_count, parse_positive_float, parse_positive_int
from tinyworlds_gate.config.load import resolve_settings
from tinyworlds_gate.errors import CheckpointError, ConfigError, GateError
from tinyworlds_gate.loop.runs import why_unfinished
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.reference.training.history import history_path
from tinyworlds_gate.run.atomic import atomic_write
from tinyworlds_gate.run.disk import write_error
from tinyworlds_gate.run.identity import host_name
from tinyworlds_gate.run.journal import events_of, last_event
from tinyworlds_gate.run.lock import live_holder
from tinyworlds_gate.run.machine import available_memory_gib, usable_cpus

if TYPE_CHECKING:
    from tinyworlds_gate.config.load import Settings

SCHEMA = 1
CHECKPOINTS = 12
"""Checkpoints of dynamics, where ``--every`` is left out."""
KEEP_ALL = 1_000_000
MOST_THREADS, GIB_A_THREAD = 8, 3
"""Counting objects in 256 clips of 12 frames of 128 px takes 2.3 GiB."""
ENDING_S = 30.0
"""Before ``--for`` ends, the session is interrupted; it then writes its reports."""
LOOK_S, NOTE_S, LONGEST_WAIT_S = 0.2, 30.0, 1e5
"""Between two looks at the session, and between two records of the checkpoints that it has so far."""
Measures = dict[str, float | None]
OF_A_SESSION = ("profile", "seed", "nproc_per_node", "every")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `bench quality`."""
    add, count, share = parser.add_argument, parse_positive_int, parse_positive_float
    add("--profile", metavar="NAME", help="the profile whose loop runs (default: smoke)")
    add("--run", metavar="results/RUN", help="an ended run of this project, instead of running the loop now")
    add("--project-root", type=Path, default=Path(), metavar="P", help="default: the current folder")
    add("--seed", type=parse_count, metavar="N", help="of the loop (default: the profile's)")
    add("--nproc-per-node", type=count, metavar="N", help="workers (default: the profile's)")
    every = f"between two checkpoints of dynamics (default: its updates / {CHECKPOINTS})"
    add("--every", type=count, metavar="UPDATES", help=every)
    add("--levels", type=share, nargs="+", default=[0.6, 0.7], metavar="SKILL", help="default: 0.6 0.7")
    add("--object-level", type=share, default=0.3, help="of recall and precision (default: %(default)s)")
    add("--object-step", type=count, default=4, help="step of the rollout (default: %(default)s)")
    add("--clips", type=count, help="held-out clips that are scored (default: the profile's)")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="that scores (default: auto)")
    limit = "of the whole command; the session is interrupted before, and what is not scored by then is left out"
    add("--for", dest="seconds", type=share, metavar="SECONDS", help=limit)
    add("--json", type=Path, metavar="FILE.json", help="the result, with a PNG beside it (default: in the run)")
    add("words", nargs="*", metavar="-- OPTION", help="further options of the pytest session, after --")


def run(args: argparse.Namespace) -> int:
    """Run the loop or take a run, score its checkpoints, and print a table with sentences; the exit code is 0.

    Raises:
        GateError: the profile or the run cannot be used, or the session left no checkpoint of dynamics.
    """
    launched, root = time.time(), args.project_root.resolve()
    _check(args, root)
    if args.run is None:
        folder = run_session(args, root, launched)
        result = measured(args, root, folder, launched, time.time())
    else:
        own = root / "results" / args.run
        folder = own if own.is_dir() else find_run(args.run, "--run").folder
        require_ended(folder, root)
        result = measured(args, root, folder)
    score(result, args, math.inf if args.seconds is None else launched + args.seconds)
    print(quality_text(result.record))
    print(f"Written: {result.path} and {result.path.with_suffix('.png')}")
    return 0


def session_command(args: argparse.Namespace, root: Path) -> list[str]:
    """Return the arguments of Python for the session.

    Raises:
        GateError: the profile is wrong, or ``--every`` is more than the updates of dynamics.
    """
    settings = resolve_settings(args.profile or "smoke", {}, project_root=root)
    updates = settings.stages["dynamics"].n_updates
    every = args.every or max(1, updates // CHECKPOINTS)
    if every > updates:
        name = settings.profile.name
        raise ConfigError(f"--every {every}: dynamics of profile {name} has {updates} updates; give 1 to {updates}")
    tests = ["validation/"] if (root / "validation").is_dir() else ["--pyargs", "tinyworlds_gate.validation"]
    words = ["-m", "pytest", *tests, "-m", settings.profile.kind, "--profile", args.profile or "smoke"]
    words += ["--project-root", str(root), "--dynamics-init-log-interval", str(every)]
    words += ["--keep-checkpoints", str(KEEP_ALL), "--max-inference-retries", "0"]
    for flag, value in (("--seed", args.seed), ("--nproc-per-node", args.nproc_per_node)):
        words += [] if value is None else [flag, str(value)]
    return [*words, *args.words]


def run_session(args: argparse.Namespace, root: Path, launched: float) -> Path:
    """Run the loop to its end, or until ``--for`` is nearly over, and return the run's folder.

    Raises:
        GateError: the session left no run.
    """
    command, before = session_command(args, root), set(root.glob("results/*/journal.jsonl"))
    until = math.inf if args.seconds is None else launched + args.seconds - ENDING_S
    # SIGTERM ends this command as Ctrl-C does, so that it leaves no training behind.
    before_term = signal.signal(signal.SIGTERM, signal.default_int_handler)
    session = subprocess.Popen([sys.executable, *command], cwd=root, stdout=sys.stderr)
    noted = launched
    try:
        while session.poll() is None and time.time() < until:
            time.sleep(LOOK_S)
            if time.time() - noted > NOTE_S:
                noted = time.time()
                with suppress(GateError, OSError):  # no checkpoint of dynamics yet, or one that is just being written
                    for folder in _new_runs(root, before):
                        measured(args, root, folder, launched, noted)
    finally:
        if session.poll() is None:
            session.send_signal(signal.SIGINT)
        session.wait()
        signal.signal(signal.SIGTERM, before_term)
    if not (new := _new_runs(root, before)):
        raise GateError(f"pytest ended with status {session.returncode} and left no run; its output is above")
    return new[-1]


def _new_runs(root: Path, before: set[Path]) -> list[Path]:
    new = set(root.glob("results/*/journal.jsonl")) - before
    return [path.parent for path in sorted(new, key=os.path.getmtime)]


@dataclass(frozen=True)
class Result:
    """A run with its settings, its checkpoints of dynamics by step, and the record, which scoring completes."""

    run: SweptRun
    settings: Settings
    steps: dict[int, Path]
    record: dict[str, Any]
    path: Path

    @property
    def scored(self) -> list[dict[str, Any]]:
        """The rows of the checkpoints that are scored, by updates."""
        return [row for row in self.record["checkpoints"] if "mse" in row]

    def write(self, args: argparse.Namespace) -> None:
        """Write the record with what is known so far."""
        levels = [{"skill": one} for one in args.levels]
        levels.append({"recall": args.object_level, "precision": args.object_level})
        self.record["levels"] = [first_reached(self.scored, least) for least in levels]
        self.record["sentences"] = sentences(self.record)
        atomic_write(self.path, json.dumps(plain(self.record), indent=1, allow_nan=False) + "\n")


def measured(
    args: argparse.Namespace, root: Path, folder: Path, launched: float | None = None, ended: float | None = None
) -> Result:
    """Read a run: its checkpoints with their times, and where its time went; nothing is scored yet.

    Raises:
        GateError: it lacks checkpoints of dynamics or their history.
    """
    run = find_run(str(folder), "--run")
    steps, events = run.checkpoints("dynamics"), run.events
    history = history_path(root, "dynamics", folder.name)
    clock, moments = RunClock.of(events, launched), _moments(history)
    if lost := [step for step in steps if step not in moments]:
        raise CheckpointError(
            f"run {run.name}: {history} has no row for update {lost[0]}, so that the time of its checkpoint is not "
            "known; put the history back"
        )
    ends = [int(one["end_update"]) - 1 for one in events_of(events, "chunk_started", stage="dynamics")]
    saving_s, savings = saving_cost(moments, list(steps), ends)
    settings = resolve_settings(folder / "configs", events[0].get("options") or {}, project_root=root)
    rates = {stage: (last_event(events, "chunk_finished", stage=stage) or {}).get("updates_per_s") for stage in STAGES}
    record = {
        "schema": SCHEMA,
        "bench": "quality",
        "run": run.name,
        **{key: events[0].get(key) for key in ("profile", "seed", "command", "machine", "versions", "commit")},
        "status": (last_event(events, "run_finished") or {}).get("status") or "unfinished",
        "interval": settings.stages["dynamics"].log_interval,
        "parts_s": {name: round(seconds, 2) for name, seconds in parts_of(events, clock, ended).items()},
        "start_known": launched is not None,
        "training_s": round(clock.training_s(max(clock.sessions[-1][1], ended or 0.0)), 2),
        "saving_s": round(saving_s, 2),
        "savings": savings,
        "updates_per_s": rates,
        "plain_updates_per_s": None,
        "clips": {"count": 0, "episodes": 0, "steps": 0},
        "object_step": args.object_step,
        "checkpoints": [
            {
                "updates": step + 1,
                "training_s": round(clock.training_s(moments[step]), 2),
                "wall_s": round(clock.wall_s(moments[step]), 2),
            }
            for step in steps
        ],
    }
    result = Result(run, settings, steps, record, args.json or folder / "quality.json")
    result.write(args)
    return result


def require_ended(folder: Path, root: Path) -> None:
    """Raise GateError unless this is a run of the project that has ended, or was interrupted in an orderly way."""
    if folder.resolve().parent != root / "results":
        raise ConfigError(f"--run {folder}: it is no run of the project {root}; name its project with --project-root")
    run = find_run(str(folder), "--run")
    if not run.events:
        raise ConfigError(f"--run {folder}: it has no journal.jsonl, so that no time is known; name a run of the loop")
    holder = live_holder(root)
    if holder is not None and holder.run == folder.name:
        raise GateError(f"--run {folder.name}: it still runs in {holder.describe()}; wait for its end")
    why = why_unfinished(run.events)
    if why is not None and (last_event(run.events, "run_finished") or {}).get("status") != "interrupted":
        raise GateError(f"--run {run.name}: it has not ended ({why}); go on with pytest's --resume-run {run.name}")


def score(result: Result, args: argparse.Namespace, until: float) -> None:
    """Score the checkpoints, measure the yardstick and draw; what would begin after ``until`` is left out.

    Raises:
        GateError: a checkpoint or the frames are not those of the run.
    """
    from tinyworlds_gate.cli.quality_score import plain_rates

    if time.time() < until:
        _score_checkpoints(result, args, until)
    machine, here = result.record["machine"] or {}, sha256(host_name().encode()).hexdigest()
    if time.time() < until and here.startswith(str(machine.get("hostname_hash"))):
        result.record["plain_updates_per_s"] = plain_rates(result.settings, args.device)
    result.write(args)
    draw_quality(result.record, result.path.with_suffix(".png"))


def _score_checkpoints(result: Result, args: argparse.Namespace, until: float) -> None:
    """The last checkpoint first. Objects take longest: they are counted in threads beside the rollouts."""
    from tinyworlds_gate.cli.quality_score import QualityScore, skill

    rows, longest = result.record["checkpoints"], 0.0
    threads = max(1, min(MOST_THREADS, usable_cpus() // 2, int(available_memory_gib() // GIB_A_THREAD)))
    scoring = QualityScore(result.run, result.settings, args.device, clips=args.clips, object_step=args.object_step)
    result.record.update(scoring.facts())
    with ThreadPoolExecutor(threads) as pool:
        scene = pool.submit(scoring.scene)

        def count(frames: Any) -> Measures:
            return scoring.objects(scene.result(), frames)

        counting = {pool.submit(count, None): result.record["copy_last"]}
        for place in scoring_order(len(rows)):
            began = time.time()
            if began + longest > until:
                break
            found, frames = scoring.of(list(result.steps.values())[place])
            rows[place] |= found
            counting[pool.submit(count, frames)] = rows[place]
            _say(f"{rows[place]['updates']:,} updates: skill {found['skill']:.3f} ({time.time() - began:.1f} s)")
            _collect(counting, 2 * threads, until)
            longest = max(longest, time.time() - began)
            result.write(args)
        while counting and time.time() < until:
            _collect(counting, len(counting) - 1, until)
            result.write(args)
        pool.shutdown(cancel_futures=True)
    if time.time() < until:
        result.record["strongest"] = strongest = scoring.strongest()
        for row in result.scored:
            row["skill_strongest"] = skill(row["mse"], strongest["mse"])


def _collect(counting: dict[Future[Measures], Measures], most: int, until: float) -> None:
    """Move finished counts into their rows, and wait, up to ``until``, while more than ``most`` are unfinished."""
    while counting:
        left = min(max(0.0, until - time.time()), LONGEST_WAIT_S) if len(counting) > most else 0.0
        done, _ = wait(counting, left, FIRST_COMPLETED)
        for one in done:
            counting.pop(one).update(one.result())
        if not done:
            return


def _moments(path: Path) -> dict[int, float]:
    """Update → when it was completed, from a stage's history; empty where there is none."""
    found = dict[int, float]()
    if path.is_file():
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            for row in csv.DictReader(file):
                with suppress(ValueError, TypeError):  # a torn row
                    found[int(row["_step"])] = float(row["_timestamp"])
    return found


def _check(args: argparse.Namespace, root: Path) -> None:
    """Refuse a project, a place for the result and a combination of options that cannot be used."""
    if not root.is_dir():
        raise ConfigError(f"--project-root {root}: there is no such folder; name the project's folder")
    given = [name for name in OF_A_SESSION if getattr(args, name) is not None] + (["words"] if args.words else [])
    if args.run is not None and given:
        option = "options after --" if given[0] == "words" else "--" + given[0].replace("_", "-")
        raise ConfigError(f"{option} beside --run: that is for a new session; leave one of them out")
    if args.json is not None:
        if args.json.suffix != ".json" or not args.json.parent.is_dir():
            raise ConfigError(f"--json {args.json}: name a file that ends in .json, in a folder that exists")
        if (error := write_error(args.json.parent)) is not None:
            raise ConfigError(f"--json {args.json}: it cannot be written ({error.strerror}); name another place")


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
