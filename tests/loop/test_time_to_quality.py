"""`tinyworlds-gate bench quality` on finished runs, and as a whole: the loop, its checkpoints, and their scores.

Run: pytest tests/loop/test_time_to_quality.py (the whole command too: -m slow)
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.tiny_project import Session, environment, make_project, read_journal, runs
from tinyworlds_gate.cli.main import main


def measure(project: Path, path: Path, *words: str) -> dict[str, Any]:
    """Run the command in this process and return the record that it wrote."""
    assert main(["bench", "quality", "--project-root", str(project), "--json", str(path), *words]) == 0
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_the_checkpoints_of_a_run_are_scored_as_its_gate_scored_the_last(
    passing: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = measure(passing.project, tmp_path / "q.json", "--run", passing.run.name, "--levels", "0.6", "1.5")
    measures = passing.events("gate_verdict")[0]["measures"]
    end = found["checkpoints"][-1]
    assert [one["updates"] for one in found["checkpoints"]] == [60, 100, 120]
    assert found["clips"] == {"count": 64, "episodes": 5, "steps": 3}
    assert end["mse"] == pytest.approx(measures["mse"], abs=1e-5), "the gate has frames that are not rounded to bytes"
    for key in ("skill", "skill_strongest"):
        assert end[key] == pytest.approx(measures[key], abs=2e-2)
    assert end["sharpness"] == pytest.approx(measures["sharpness"])
    reached, missed, objects = found["levels"]
    assert reached["reached"] is not None
    assert missed["reached"] is objects["reached"] is None
    times = [(one["training_s"], one["wall_s"]) for one in found["checkpoints"]]
    assert times == sorted(times)
    assert all(training < wall for training, wall in times)
    assert end["training_s"] <= sum(one["wall_s"] for one in passing.events("chunk_finished"))
    assert set(found["plain_updates_per_s"]) == {"video_tokenizer", "latent_actions", "dynamics"}
    assert "Skill 1.5: not reached (nearest: skill" in capsys.readouterr().out
    assert (tmp_path / "q.png").read_bytes().startswith(b"\x89PNG")


def test_scoring_that_has_no_time_left_names_what_is_not_scored(passing: Session, tmp_path: Path) -> None:
    found = measure(passing.project, tmp_path / "q.json", "--run", passing.run.name, "--for", "0.001")
    assert all("mse" not in one and one["training_s"] > 0 for one in found["checkpoints"])
    assert any(one.startswith("0 of 3 checkpoints are scored so far") for one in found["sentences"])
    assert found["levels"][0]["nearest"] is None


@pytest.mark.slow
def test_the_whole_command_runs_the_loop_and_measures_from_its_launch(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    words = ["bench", "quality", "--seed", "5", "--every", "30", "--json", str(tmp_path / "q.json")]
    done = subprocess.run(
        [sys.executable, "-m", "tinyworlds_gate", *words],
        cwd=project,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "q.json").read_text(encoding="utf-8"))
    (run,) = runs(project)
    first = read_journal(run)[0]
    assert (found["run"], found["seed"], first["seed"]) == (run.name, 5, 5)
    assert [one["updates"] for one in found["checkpoints"]] == [30, 60, 90, 120]
    assert found["checkpoints"][-1]["skill"] > 0.9
    assert found["start_known"]
    assert found["levels"][0]["reached"] is not None
    assert sum(found["parts_s"].values()) == pytest.approx(2 * found["parts_s"]["whole loop"], abs=0.1)
    assert "Skill 0.6: reached at" in done.stdout
