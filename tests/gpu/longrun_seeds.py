"""Train a long-run profile with several seeds on a machine with short time slots, and collect the results.

    python -m tests.gpu.longrun_seeds ROOT --source REPOSITORY --evaluation F.h5 --for 560 --out FOLDER \\
        --seeds 0 1 --gpus-each 2

Each seed gets a clone of REPOSITORY (a folder, or a bundle that holds HEAD) below ROOT and the next free group of
GPUs; seeds that find none wait for their turn. The command ends after ``--for`` seconds, the sessions run on;
the same command again goes on watching them, and resumes one that was cut off. With ``--stop`` they are ended as Ctrl-C
would end them.
Runs that have a verdict are kept (`tinyworlds-gate keep`) below ROOT, and FOLDER gets all of that, what the sessions
said, and the weights in half precision, in files that are easy to carry.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from tinyworlds_gate.launch.devices.nvml import gpu_inventory
from tinyworlds_gate.run.identity import ProcessIdentity, identify
from tinyworlds_gate.run.journal import Event, last_event, read_journal

LOOK_S = 2.0
TELL_S = 60.0
INTERRUPTED = 2
STARTS = 3
"""Maximum number of starts of a seed; a session that ends without a verdict is resumed."""


@dataclass
class Session:
    """The pytest session of one seed, stored so that the next call of this command finds it."""

    seed: int
    gpus: str
    pid: int = 0
    start: float = 0.0
    starts: int = 0
    kept: bool = False

    @property
    def runs(self) -> bool:
        return self.pid > 0 and ProcessIdentity(self.pid, self.start).is_alive()


class Seeds:
    """The sessions of all seeds in one root folder."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.root = args, args.root.resolve()
        self.record = self.root / "seeds.json"
        known = json.loads(self.record.read_text()) if self.record.exists() else []
        self.sessions = {one.seed: one for one in (Session(**entry) for entry in known)}
        gpus = [str(gpu.index) for gpu in gpu_inventory()]
        groups = [",".join(gpus[at : at + args.gpus_each]) for at in range(0, len(gpus), args.gpus_each)]
        self.groups = groups or [""]  # without a GPU, one seed after the other on the processor
        self.children: list[subprocess.Popen[bytes]] = []

    def clone_of(self, seed: int) -> Path:
        return Path(self.root / f"seed{seed}")

    def run_of(self, seed: int) -> Path | None:
        """The newest run of a seed."""
        runs = sorted((self.clone_of(seed) / "results").glob("*/journal.jsonl"))
        return runs[-1].parent if runs else None

    def events(self, seed: int) -> list[Event]:
        run = self.run_of(seed)
        return list(read_journal(run / "journal.jsonl")) if run else []

    def prepare(self) -> None:
        """Clones, and the game's frames once for all of them."""
        self.root.mkdir(parents=True, exist_ok=True)
        first = self.clone_of(self.args.seeds[0])
        for seed in self.args.seeds:
            clone = self.clone_of(seed)
            if clone.exists():
                continue
            subprocess.run(["git", "clone", "-q", str(self.args.source.resolve()), str(clone)], check=True)
            (clone / "data").mkdir(exist_ok=True)
            if self.args.evaluation is not None:
                (clone / "data/evaluation_128.h5").write_bytes(self.args.evaluation.read_bytes())
            if seed == self.args.seeds[0]:
                self._gate(clone, *self._data_words(clone))
            else:
                for file in (first / "data").glob("*_frames.h5"):
                    os.link(file, clone / "data" / file.name)

    def _data_words(self, clone: Path) -> list[str]:
        """The command that makes the frames which the profile asks for, with all processors."""
        folder = clone / "configs/profiles" / self.args.profile
        data = yaml.safe_load((folder / "profile.yaml").read_text())["data"]
        training = yaml.safe_load((folder / "training.yaml").read_text())
        game, size = training["dataset"].lower(), training["frame_size"]
        words = ["data", "make", game, "--frame-size", str(size), "--num-frames", str(data["num_frames"])]
        return [*words, "--episode-length", str(data["episode_length"]), "--seed", str(data["seed"])]

    def look(self, *, start: bool = True) -> None:
        """Start what can be started, keep what has a verdict, write down who is who."""
        for child in self.children:
            child.poll()
        for seed in self.args.seeds:
            session = self.sessions.get(seed)
            if session is not None and (session.runs or session.kept):
                continue
            if session is not None and self._finished(seed):
                self._keep(session)
            elif start and (session is None or session.starts < STARTS):
                self._start_if_free(seed)
        self.record.write_text(json.dumps([asdict(one) for one in self.sessions.values()]))

    def open(self) -> bool:
        """Whether anything is left to wait for."""
        known = [self.sessions.get(seed) for seed in self.args.seeds]
        return any(one is None or one.runs or (not one.kept and one.starts < STARTS) for one in known)

    def tell(self) -> None:
        for seed, session in sorted(self.sessions.items()):
            log = self.root / f"seed{seed}.log"
            words = log.read_text(errors="replace").splitlines() if log.exists() else []
            said = [word[:200] for word in words if word.startswith("[gate]") and "frames," not in word][-3:]
            print(
                f"--- seed {seed}, GPUs {session.gpus}, {'running' if session.runs else 'not running'}", *said, sep="\n"
            )

    def stop(self) -> None:
        """As Ctrl-C would; a session has 40 s to write its end."""
        running = [one for one in self.sessions.values() if one.runs]
        for session in running:
            os.kill(session.pid, signal.SIGINT)
        until = time.monotonic() + 40
        while any(one.runs for one in running) and time.monotonic() < until:
            time.sleep(0.5)
            for child in self.children:
                child.poll()

    def pack(self) -> None:
        out = self.args.out
        out.mkdir(parents=True, exist_ok=True)
        with tarfile.open(out / "kept.tar.gz", "w:gz") as packed:
            for name in ("kept", *(f"seed{seed}.log" for seed in self.args.seeds)):
                if (self.root / name).exists():
                    packed.add(self.root / name, name)
            for seed in self.args.seeds:
                run = self.run_of(seed)
                if run is not None:
                    packed.add(run / "journal.jsonl", f"seed{seed}.journal.jsonl")
        for seed in self.args.seeds:
            self._pack_weights(seed)

    def _pack_weights(self, seed: int) -> None:
        import torch
        from safetensors.torch import save_file

        run = self.run_of(seed)
        for stage in ("video_tokenizer", "latent_actions", "dynamics"):
            files = sorted(
                (run / stage / "checkpoints").glob("*/model_state_dict.pt") if run else (),
                key=lambda file: int(file.parent.name.rpartition("_")[2]),
            )
            if files:
                state = torch.load(files[-1], map_location="cpu", weights_only=True)
                half = {name: value.half().contiguous() for name, value in state.items() if value.is_floating_point()}
                save_file(half, self.args.out / f"seed{seed}.{files[-1].parent.name}.safetensors")

    def _start_if_free(self, seed: int) -> None:
        used = {one.gpus for one in self.sessions.values() if one.runs}
        free = [group for group in self.groups if group not in used]
        if not free:
            return
        session = self.sessions.setdefault(seed, Session(seed, free[0]))
        session.gpus, session.starts = free[0], session.starts + 1
        clone = self.clone_of(seed)
        words = ["validation/", "-m", "longrun", "--profile", self.args.profile]
        words += ["--seed", str(seed)]
        if self.args.evaluation is not None:
            words += ["--evaluation-file", "data/evaluation_128.h5"]
        if self.args.gpus_each == 1:
            words += ["--nproc-per-node", "1"]
        if self.run_of(seed) is not None:
            words += ["--resume-run", "unfinished"]
        with open(self.root / f"seed{seed}.log", "ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "pytest", *words],
                cwd=clone,
                env=self._environment(clone) | {"CUDA_VISIBLE_DEVICES": free[0]},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        found = identify(child.pid)
        session.pid, session.start = child.pid, 0.0 if found is None else found.start
        self.children.append(child)

    def _finished(self, seed: int) -> bool:
        """Whether its newest run came to its end, with a verdict."""
        events = self.events(seed)
        end = last_event(events, "run_finished")
        return end is not None and end["exit_status"] != INTERRUPTED and last_event(events, "gate_verdict") is not None

    def _keep(self, session: Session) -> None:
        run, clone = self.run_of(session.seed), self.clone_of(session.seed)
        assert run is not None
        kept = self.root / "kept"
        folder = ("--into", str(kept / "longrun"), "--json", str(kept / "longrun.json"))
        self._gate(clone, "keep", str(run.relative_to(clone)), *folder)
        session.kept = True

    def _gate(self, clone: Path, *words: str) -> None:
        command = [sys.executable, "-m", "tinyworlds_gate", *words]
        subprocess.run(command, cwd=clone, env=self._environment(clone), check=True)

    def _environment(self, clone: Path) -> dict[str, str]:
        folders = [str(clone), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        return {**os.environ, "PYTHONPATH": os.pathsep.join(one for one in folders if one)}


def main() -> None:
    """Parse the arguments, and watch until the time is up or every seed is done."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--evaluation", type=Path, help="a fixed evaluation set of the profile's game; default: none")
    parser.add_argument("--profile", default="longrun-crafter")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--gpus-each", type=int, default=2)
    parser.add_argument("--for", type=float, default=560.0, dest="seconds")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--stop", action="store_true")
    seeds = Seeds(parser.parse_args())
    began = told = time.monotonic()
    seeds.prepare()
    while True:
        seeds.look()
        now = time.monotonic()
        if now - told >= TELL_S:
            told = now
            print(f"=== after {now - began:.0f} s", flush=True)
            seeds.tell()
        if not seeds.open() or now - began >= seeds.args.seconds:
            break
        time.sleep(LOOK_S)
    if seeds.args.stop:
        seeds.stop()
        seeds.look(start=False)
    seeds.pack()
    print(f"=== {'all done' if not seeds.open() else 'going on'} after {time.monotonic() - began:.0f} s", flush=True)
    seeds.tell()
    if (table := seeds.root / "kept/longrun.json").exists():
        print(table.read_text())


if __name__ == "__main__":
    main()
