"""How long the git history audit takes: `tinyworlds-gate bench audit` makes a repository and reads it.

It times the complete audit: opening the repository, listing every commit, reading the year's diffs, selecting. Making
the repository (`git fast-import`) is not timed.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tinyworlds_gate.config.cli_values import parse_positive_int
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.evidence.git_audit.audit import audit
from tinyworlds_gate.evidence.git_audit.paths import MODES
from tinyworlds_gate.run.git import GitError, NoGit, run_in_own_folder
from tinyworlds_gate.run.machine import usable_cpus

YEAR = 2025
FIRST_SECOND = 1_735_689_600
"""2025-01-01T00:00:00Z."""
SECONDS_OF_YEAR = 365 * 86_400
CONFIGS = [
    f"configs/{name}.yaml" for name in ("training", "video_tokenizer", "latent_actions", "dynamics", "inference")
]
LINES_OF_SCRIPT = 150


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `bench audit`."""
    parser.add_argument(
        "--commits", type=parse_positive_int, default=10_000, help="all of them in 2025 (default: %(default)s)"
    )
    parser.add_argument("--mode", choices=MODES, default="strict", help="default: %(default)s")
    parser.add_argument(
        "--rounds", type=parse_positive_int, default=3, help="timed rounds, of which the median (default: 3)"
    )


def run(args: argparse.Namespace) -> int:
    """Make the repository, measure, print a sentence and then one line of JSON.

    Raises:
        GateError: git is not there, or could not make the repository.
    """
    with tempfile.TemporaryDirectory(prefix="tinyworlds-gate-audit-") as folder:
        began = time.perf_counter()
        make_history(Path(folder), args.commits)
        made_s = time.perf_counter() - began
        seconds, evidence = [], audit(Path(folder), YEAR, args.mode)
        for _ in range(args.rounds):
            began = time.perf_counter()
            evidence = audit(Path(folder), YEAR, args.mode)
            seconds.append(time.perf_counter() - began)
    median = statistics.median(seconds)
    print(
        f"audit of {evidence.commits_in_year} commits ({evidence.merges_in_year} merges), {len(evidence.selected)} "
        f"selected: {median:.2f} s (median of {len(seconds)}, {min(seconds):.2f} to {max(seconds):.2f}); making the "
        f"repository took {made_s:.1f} s"
    )
    record: dict[str, Any] = {
        "bench": "audit",
        "commits": evidence.commits_in_year,
        "merges": evidence.merges_in_year,
        "selected": len(evidence.selected),
        "key_changes": len(evidence.key_changes),
        "mode": args.mode,
        "cpus": usable_cpus(),
        "seconds": [round(one, 3) for one in seconds],
        "median_s": round(median, 3),
    }
    print(json.dumps(record))
    return 0


def make_history(folder: Path, commits: int) -> None:
    """A repository of commits of 2025 that change a script, a note, often a config; some merge, rename, add bytes.

    Raises:
        GateError: git is not there, or refused.
    """
    try:
        folder.mkdir(exist_ok=True)
        run_in_own_folder(folder, "init", "-q", "-b", "main", ".")
        run_in_own_folder(folder, "fast-import", "--quiet", content=history_stream(commits))
    except NoGit as error:
        raise GateError(
            f"git could not make the repository to measure on: {error} Install git and run again."
        ) from None
    except GitError as error:
        raise GateError(f"git refused the generated history: {' '.join(str(error).split())[:300]}") from None


def history_stream(commits: int) -> Iterator[bytes]:
    """The same bytes for the same number of commits, in the language of `git fast-import`."""
    dice = random.Random(commits)
    script = [f"value_{line} = {line}" for line in range(LINES_OF_SCRIPT)]
    renamed = 0
    for number in range(commits):
        when = FIRST_SECOND + number * SECONDS_OF_YEAR // commits
        word = "ZELDA" if number % 25 == 0 else "PONG"
        for line in dice.sample(range(LINES_OF_SCRIPT), 5):
            script[line] = f"value_{line} = {dice.randrange(10**6)}"
        files = {
            f"src/part_{number % 40}.py": "\n".join(script).encode() + b"\n",
            f"notes/{number % 200}.md": f"entry {number}\n{'words ' * 40}\n".encode(),
        }
        if number % 4 == 0:
            sizes = f"embed_dim: {dice.choice((32, 64, 128))}\nnum_heads: {dice.choice((4, 8))}\nnum_blocks: 4\n"
            files[CONFIGS[number // 4 % len(CONFIGS)]] = f"dataset: {word}\nfps: {number}\n{sizes}".encode()
        if number % 40 == 7:
            files["assets/tiles.bin"] = bytes(dice.randrange(256) for _ in range(512)) + b"\0"
        merges = number % 10 == 9 and number > 9
        yield b"commit refs/heads/main\nmark :%d\n" % (number + 1)
        yield b"committer Ada <ada@example.org> %d +0000\n" % when
        yield _data(f"Change {number}".encode())
        if number:
            yield b"from :%d\n" % number
        if merges:
            yield b"merge :%d\n" % (number - 4)
        if number % 50 == 48:
            yield b"R notes/%d.md notes/moved_%d.md\n" % ((number - 20) % 200, renamed)
            renamed += 1
        for path, content in files.items():
            yield f"M 100644 inline {path}\n".encode() + _data(content)
        yield b"\n"


def _data(content: bytes) -> bytes:
    return b"data %d\n%s\n" % (len(content), content)
