"""Train several settings of a game side by side, each through the whole loop, and print a line for each.

    python -m tests.gpu.game_recipes tests/gpu/recipes/longrun_games.yaml --root FOLDER --out OUT --for 560

The recipes have an entry per candidate: ``game``, ``frames``, ``gpu``, ``base`` (a profile), ``options`` of pytest and,
under the names of the settings files, what differs from that profile. Each gets a project below FOLDER, and its own
session there. The command ends after ``--for`` seconds; sessions that still run are ended as Ctrl-C would. OUT gets
`outcomes.json`, rewritten whenever a session ends.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from tests.gpu.game_targets import outcome
from tinyworlds_gate.run.journal import events_of, last_event, read_journal

REPOSITORY = Path(__file__).resolve().parents[2]
GRACE_S = 30.0


class Candidate:
    """One entry of the recipes: its project and its session."""

    def __init__(self, name: str, recipe: dict[str, Any], root: Path) -> None:
        self.name, self.recipe, self.project = name, recipe, root / name
        self.session: subprocess.Popen[bytes] | None = None
        self.outcome: dict[str, Any] | None = None

    @property
    def game(self) -> str:
        return str(self.recipe["game"])

    @property
    def data(self) -> Path:
        return self.project / "data" / f"{self.game}_frames.h5"

    def prepare(self, frames: Path) -> None:
        """Write the project: its profile, the frames and a git repository."""
        folder = self.project / "configs/profiles" / self.recipe["base"]
        shutil.copytree(REPOSITORY / "configs/profiles" / self.recipe["base"], folder)
        self.data.parent.mkdir()
        os.link(frames, self.data)
        given = {"training": {"dataset": self.game.upper()}, "inference": {"dataset": self.game.upper()}}
        for file in ("profile", "training", "video_tokenizer", "latent_actions", "dynamics", "inference"):
            path = folder / f"{file}.yaml"
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
            _update(values, given.get(file, {}))
            _update(values, self.recipe.get(file, {}))
            path.write_text(yaml.safe_dump(values), encoding="utf-8")
        identity = ["-c", "user.name=candidate", "-c", "user.email=candidate@example.org"]
        (self.project / ".gitignore").write_text("data/\nresults/\nLogs/\ninference_results/\ndocs/\n")
        for words in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", self.name]):
            subprocess.run(["git", "-C", str(self.project), *words], check=True)

    def start(self) -> None:
        """Start the session on its GPU."""
        words = ["-m", "pytest", "validation/", "-m", "longrun", "--profile", self.recipe["base"]]
        words += [
            "-p",
            "no:cacheprovider",
            "--project-root",
            str(self.project),
            *map(str, self.recipe.get("options", [])),
        ]
        where = {"CUDA_VISIBLE_DEVICES": str(self.recipe.get("gpu", 0))}
        with (self.project.parent / f"{self.name}.log").open("wb") as log:
            self.session = subprocess.Popen(
                [sys.executable, *words],
                cwd=REPOSITORY,
                env={**os.environ, **where},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def runs(self) -> bool:
        return self.session is not None and self.session.poll() is None

    def interrupt(self) -> None:
        """End the session as Ctrl-C would; it then writes its reports."""
        if self.session is not None:
            self.session.send_signal(signal.SIGINT)

    def wait(self, seconds: float) -> None:
        """Wait for the end of the session, and kill it after ``seconds``; its tether ends the workers then."""
        if self.session is not None:
            try:
                self.session.wait(seconds)
            except subprocess.TimeoutExpired:
                self.session.kill()
                self.session.wait()

    def read(self) -> dict[str, Any]:
        """Return what the session came to: verdict, times, and the game's own figures where frames were generated."""
        runs = sorted((self.project / "results").glob("*/journal.jsonl"))
        if not runs:
            return {"verdict": "no run"}
        run = runs[-1]
        events = list(read_journal(run))
        verdict = last_event(events, "gate_verdict") or {}
        found: dict[str, Any] = {"verdict": verdict.get("verdict"), "sentence": verdict.get("sentence")}
        found["numbers"] = {key: verdict.get(key) for key in verdict if key not in ("binding", "clips")}
        stages = [event for event in events if event["event"] == "chunk_finished"]
        found["seconds"] = {f"{one.get('stage')} {one.get('chunk')}": one.get("wall_s") for one in stages}
        found["stages"] = [
            {key: one.get(key) for key in ("stage", "decision", "reason")} for one in events_of(events, "stage_gate")
        ]
        if (run.parent / "measures_01_frames.h5").is_file():
            found |= outcome(self.game, run.parent, self.data)
        return found


def _update(values: dict[str, Any], changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(values.get(key), dict):
            _update(values[key], value)
        else:
            values[key] = value


def make_frames(candidates: list[Candidate], root: Path) -> dict[str, Path]:
    """Generate each game's frames once, one game after the other on all processors."""
    found: dict[str, Path] = {}
    for one in candidates:
        frames = dict(one.recipe["frames"])
        key = json.dumps([one.game, frames], sort_keys=True)
        if key in found:
            continue
        path = root / f"frames_{len(found)}.h5"
        if "file" in frames:
            os.link(frames["file"], path)
        else:
            words = [part for name, value in frames.items() for part in (f"--{name.replace('_', '-')}", str(value))]
            command = [sys.executable, "-m", "tinyworlds_gate", "data", "make", one.game, *words, "--output", str(path)]
            subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)
        found[key] = path
        for other in candidates:
            if json.dumps([other.game, dict(other.recipe["frames"])], sort_keys=True) == key:
                other.prepare(path)
    return found


def main() -> None:
    """Train all candidates and print a line for each."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("recipes", type=Path)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--for", dest="seconds", type=float, default=560.0)
    args = parser.parse_args()
    until = time.monotonic() + args.seconds
    args.root.mkdir(parents=True)
    recipes = yaml.safe_load(args.recipes.read_text(encoding="utf-8"))
    candidates = [Candidate(name, recipe, args.root) for name, recipe in recipes.items()]
    make_frames(candidates, args.root)
    for one in candidates:
        one.start()
    open_ones = list(candidates)
    while open_ones and time.monotonic() < until:
        time.sleep(1.0)
        for one in [one for one in open_ones if not one.runs]:
            open_ones.remove(one)
            _note(one, candidates, args.out)
    for one in open_ones:
        one.interrupt()
    for one in open_ones:
        one.wait(GRACE_S)
        _note(one, candidates, args.out)
    for one in candidates:
        print(one.name, json.dumps(_short(one.outcome or {})))


def _note(one: Candidate, candidates: list[Candidate], out: Path) -> None:
    one.outcome = one.read()
    print(f"{one.name} ended: {one.outcome.get('verdict')} {str(one.outcome.get('sentence'))[:300]}", flush=True)
    known = {other.name: other.outcome for other in candidates if other.outcome is not None}
    (out / "outcomes.json").write_text(json.dumps(known, indent=1, default=str), encoding="utf-8")


def _short(found: dict[str, Any]) -> dict[str, Any]:
    short = {key: found.get(key) for key in ("verdict", "seconds")}
    for key, value in found.items():
        if isinstance(value, list) and value and all(isinstance(item, float) for item in value):
            short[key] = [round(item, 5 if "mse" in key else 3) for item in value]
    return short


if __name__ == "__main__":
    main()
