"""A stage that logs online: the real `wandb.init` against the loopback server, and the analysis that reads it (L9).

Run: pytest tests/unit/evidence/metrics/test_wandb_online.py
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers.wandb_runs import PROGRAM
from tests.helpers.wandb_server import ENTITY, KEY, PROJECT, WandbServer, serving
from tinyworlds_gate.evidence.metrics.history import LEARNING_RATE, LOSS
from tinyworlds_gate.evidence.metrics.wandb_reader import Patience, ask
from tinyworlds_gate.evidence.metrics.wandb_rows import LoggedRun
from tinyworlds_gate.run.layout import RunLayout

RUN_ID = "0nl1nerun123"


@dataclass(frozen=True)
class Logged:
    """A finished process that logged 40 updates online, and the server that took them."""

    root: Path
    server: WandbServer
    output: str


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logged]:
    root = tmp_path_factory.mktemp("online")
    with serving(WandbServer()) as server:
        env = {**os.environ, **server.environment(), "HOME": str(root), "WANDB_ERROR_REPORTING": "false"}
        env = {name: value for name, value in env.items() if name != "WANDB_MODE"}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(root), f"{RUN_ID}:0:40"],
            env=env, cwd=root, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        yield Logged(root, server, done.stdout + done.stderr)


@pytest.mark.requirement("L9", "M1")
def test_every_update_of_a_stage_arrives_under_the_id_that_the_harness_drew(logged: Logged) -> None:
    (run_id,) = logged.server.ingested
    found = logged.server.ingested[run_id]
    assert run_id == RUN_ID
    assert (found.created["project"], found.created["displayName"], found.created["groupName"]) == (
        PROJECT,
        "x",
        "dynamics",
    )
    assert [row["_step"] for row in found.rows] == list(range(40))
    assert [row[LOSS] for row in found.rows[4:7]] == [4, 3.75, 3.5]
    assert {row[LEARNING_RATE] for row in found.rows} == {5e-4}
    assert found.complete
    assert "config.yaml" in found.files


@pytest.mark.requirement("L9", "A3")
def test_the_analysis_reads_back_what_the_stage_logged_online(
    logged: Logged, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in logged.server.environment().items():
        monkeypatch.setenv(name, value)
    layout = RunLayout(tmp_path, "run_1").create()
    answered = ask("api", [LoggedRun(RUN_ID, PROJECT, None, 0, 40)], layout, Patience(timeout_s=5, deadline_s=60))
    answer = answered.runs[RUN_ID]
    assert answer.problem is None
    assert answer.path == f"{ENTITY}/{PROJECT}/{RUN_ID}"
    assert sorted(answer.rows) == list(range(40))
    losses = [answer.rows[step][LOSS] for step in range(40)]
    assert math.isnan(losses[3] or 0.0)
    assert losses[:3] == [5.0, 4.75, 4.5]


@pytest.mark.requirement("L9")
def test_the_key_is_in_no_file_of_online_logging(logged: Logged) -> None:
    left = [path for path in logged.root.rglob("*") if path.is_file() and not path.is_symlink()]
    assert any(path.name == f"run-{RUN_ID}.wandb" for path in left)
    assert [path for path in left if KEY.encode() in path.read_bytes()] == []
    assert KEY not in logged.output
    assert not [name for name, data in logged.server.ingested[RUN_ID].files.items() if KEY.encode() in data]
