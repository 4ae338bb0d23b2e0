"""`bench quality`: times of checkpoints, parts of the loop, levels, sentences, and what is refused. No real time here.

Run: pytest tests/unit/bench/test_quality.py
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.config_files import copy_profile
from tests.helpers.journal_samples import SampleRun
from tinyworlds_gate.bench.quality_report import draw_quality, quality_text, sentences
from tinyworlds_gate.bench.quality_time import RunClock, first_reached, parts_of, saving_cost, scoring_order
from tinyworlds_gate.cli.bench_quality import require_ended, session_command
from tinyworlds_gate.cli.main import main
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.horizon.object_curves import NAMES, ObjectScene
from tinyworlds_gate.run.journal import Event

Line = tuple[str, float, dict[str, Any]]


def journal(*events: Line) -> list[Event]:
    return [{"seq": number, "time": at, "event": name, **more} for number, (name, at, more) in enumerate(events)]


FIRST: tuple[Line, ...] = (
    ("run_started", 100.0, {}),
    ("dataset_ready", 110.0, {"seconds": 8.0}),
    ("chunk_started", 111.0, {"chunk": 1, "stage": "video_tokenizer"}),
    ("chunk_finished", 133.0, {"chunk": 1, "stage": "video_tokenizer", "wall_s": 20.0}),
    ("chunk_started", 134.0, {"chunk": 2, "stage": "dynamics"}),
    ("chunk_finished", 175.0, {"chunk": 2, "stage": "dynamics", "wall_s": 40.0}),
)
GATE: tuple[Line, ...] = (
    ("inference_started", 176.0, {}),
    ("inference_finished", 187.0, {"wall_s": 10.0}),
    ("gate_verdict", 190.0, {}),
    ("verdict_picture", 192.0, {}),
    ("run_finished", 200.0, {}),
)
WHOLE = journal(*FIRST, *GATE)


def test_training_counts_the_lifetimes_of_all_launchers_up_to_a_moment() -> None:
    clock = RunClock.of(WHOLE)
    assert clock.training_s(111.0) == 0.0
    assert clock.training_s(121.0) == 10.0
    assert clock.training_s(133.9) == 20.0, "from its start on, a launcher never counts for more than its lifetime"
    assert clock.training_s(144.0) == 20.0 + 10.0
    assert clock.training_s(500.0) == 60.0
    assert clock.training_s(500.0, "dynamics") == 40.0


def test_wall_time_begins_with_the_launch_of_the_command_where_it_is_known() -> None:
    assert RunClock.of(WHOLE).wall_s(150.0) == 50.0
    assert RunClock.of(WHOLE, launched=97.0).wall_s(150.0) == 53.0


def test_time_between_an_interruption_and_the_resumption_is_not_counted() -> None:
    again: tuple[Line, ...] = (("run_started", 900.0, {}), ("chunk_started", 901.0, {"chunk": 3, "stage": "dynamics"}))
    clock = RunClock.of(journal(*FIRST, *again, ("gate_verdict", 930.0, {})))
    assert clock.wall_s(910.0) == 75.0 + 10.0
    assert clock.training_s(911.0) == 60.0 + 10.0, "a launcher without an end counts up to the moment"


def test_a_session_that_goes_on_counts_past_the_last_line_of_its_journal() -> None:
    events = journal(*FIRST[:-1])
    clock = RunClock.of(events)
    assert (clock.wall_s(160.0), clock.training_s(160.0)) == (60.0, 46.0)
    assert parts_of(events, clock, ended=170.0)["dynamics"] == 36.0


def test_the_parts_of_the_loop_sum_to_the_whole() -> None:
    parts = parts_of(WHOLE, RunClock.of(WHOLE, launched=98.0), ended=203.0)
    assert {key: parts[key] for key in ("data", "video_tokenizer", "latent_actions", "dynamics", "inference")} == {
        "data": 8.0,
        "video_tokenizer": 20.0,
        "latent_actions": 0.0,
        "dynamics": 40.0,
        "inference": 10.0,
    }
    assert parts["verdict"] == 5.0
    assert parts["whole loop"] == 2.0 + 100.0 + 3.0
    assert sum(parts.values()) == pytest.approx(2 * parts["whole loop"])


def test_saving_costs_what_the_next_update_comes_later_than_usual() -> None:
    moments = {0: 0.0, 1: 1.0, 2: 4.0, 3: 5.0, 4: 6.0, 5: 7.5, 6: 60.0, 7: 61.0}
    assert saving_cost(moments, [1, 4, 5, 7], chunk_ends=[5, 7]) == (2.0 + 0.5, 2)
    assert saving_cost({}, [1], []) == (0.0, 0)


@pytest.mark.parametrize("count", [1, 2, 7, 12, 25])
def test_the_last_checkpoint_is_scored_first_and_each_once(count: int) -> None:
    order = scoring_order(count)
    assert sorted(order) == list(range(count))
    assert order[0] == count - 1


def test_scoring_that_is_cut_off_has_checkpoints_everywhere() -> None:
    assert sorted(scoring_order(12)[:4]) == [2, 5, 8, 11]


def row(updates: int, skill: float, recall: float | None = None, precision: float | None = None) -> dict[str, Any]:
    times = {"updates": updates, "training_s": updates / 10, "wall_s": updates / 5}
    return {**times, "skill": skill, "recall": recall, "precision": precision}


def test_a_level_is_reached_by_the_first_checkpoint_at_or_above_it() -> None:
    rows = [row(100, 0.5), row(200, 0.6), row(300, 0.4), row(400, 0.8)]
    found = first_reached(rows, {"skill": 0.6})
    assert (found["reached"], found["not_at"]) == ({"updates": 200, "training_s": 20.0, "wall_s": 40.0}, 100)
    assert first_reached(rows, {"skill": 0.5})["not_at"] is None


def test_two_values_must_be_reached_by_one_checkpoint_and_an_unknown_one_never_is() -> None:
    both = {"recall": 0.3, "precision": 0.3}
    rows = [row(100, 0.9, 0.9, 0.1), row(200, 0.9, 0.25, 0.29), row(300, 0.9, None, 0.9)]
    found = first_reached(rows, both)
    assert (found["reached"], found["nearest"]) == (None, {"recall": 0.25, "precision": 0.29})
    assert first_reached([*rows, row(400, 0.1, 0.3, 0.3)], both)["reached"]["updates"] == 400
    assert first_reached([], both)["nearest"] is None


def record(**changes: Any) -> dict[str, Any]:
    scored = {**row(200, 0.65, 0.2, 0.5), "mse": 0.01, "skill_low": 0.6, "skill_high": 0.7, "sharpness": 0.93}
    rows = [{"updates": 100, "training_s": 10.0, "wall_s": 20.0}, scored]
    levels = [first_reached(rows[1:], one) for one in ({"skill": 0.6}, {"skill": 0.7}, {"recall": 0.3})]
    return {
        "run": "smoke_1",
        "profile": "smoke",
        "seed": 3,
        "checkpoints": rows,
        "levels": levels,
        "parts_s": {"data": 1.0, "rest": 2.0, "whole loop": 3.0},
        "interval": 100,
        "savings": 1,
        "saving_s": 0.2,
        "training_s": 20.0,
        "updates_per_s": {"dynamics": 12.0, "latent_actions": None},
        "plain_updates_per_s": {"dynamics": 6.0},
        "machine": {"gpus": [{"name": "GPU X"}, {"name": "GPU X"}], "cpus": 8},
        "versions": {"torch": "2.13"},
        "copy_last": {"recall": 0.16},
        "clips": {"count": 64, "episodes": 9, "steps": 12},
        "object_step": 4,
        "status": "passed",
        "start_known": True,
        **changes,
    }


def test_sentences_say_what_was_reached_when_and_what_was_not() -> None:
    said = sentences(record())
    assert said[0] == (
        "Skill 0.6: reached at 200 updates of dynamics (the first that is scored), after 20.0 s of training and 40.0 s "
        "since the launch."
    )
    assert said[1] == "Skill 0.7: not reached (nearest: skill 0.65)."
    text = " ".join(said)
    assert "recall 0.200 (last frame 0.160)" in text
    assert "saving 1 of them took 0.2 s, 1.0 % of training" in text
    assert "dynamics 12.0 (plain: 6.0). Machine: 2 x GPU X, 8 CPUs; torch 2.13" in text
    assert "1 of 2 checkpoints are scored so far; `tinyworlds-gate bench quality --run results/smoke_1`" in text


def test_sentences_name_a_run_that_was_cut_off_and_an_unknown_launch() -> None:
    text = " ".join(sentences(record(status="interrupted", start_known=False)))
    assert "The run's status is interrupted" in text
    assert "begins with the journal" in text
    assert "status is" not in " ".join(sentences(record(status="failed")))


def test_table_and_picture_show_checkpoints_that_are_not_scored_yet(tmp_path: Path) -> None:
    whole = record()
    whole["sentences"] = sentences(whole)
    text = quality_text(whole)
    assert "│     100 │        10.0 │            20.0 │      – │" in text
    assert "│     200 │        20.0 │            40.0 │ 0.0100 │ 0.650 │" in text
    draw_quality(whole, tmp_path / "quality.png")
    assert (tmp_path / "quality.png").stat().st_size > 5000


def arguments(**given: Any) -> argparse.Namespace:
    empty = dict.fromkeys(("profile", "every", "seed", "nproc_per_node"))
    return argparse.Namespace(**{**empty, "words": [], **given})


def test_the_session_keeps_every_checkpoint_of_dynamics(tmp_path: Path) -> None:
    copy_profile("smoke", tmp_path / "configs/profiles/smoke")
    words = session_command(arguments(every=100, seed=4, nproc_per_node=1, words=["--clips", "8"]), tmp_path)
    text = " ".join(words)
    assert "pytest --pyargs tinyworlds_gate.validation -m smoke --profile smoke" in text
    assert "--dynamics-init-log-interval 100 --keep-checkpoints 1000000 " in text
    assert text.endswith("--max-inference-retries 0 --seed 4 --nproc-per-node 1 --clips 8")
    assert "--dynamics-init-log-interval 60 " in " ".join(session_command(arguments(), tmp_path))
    (tmp_path / "validation").mkdir()
    assert session_command(arguments(), tmp_path)[2] == "validation/"


def test_an_interval_longer_than_the_stage_is_refused(tmp_path: Path) -> None:
    copy_profile("smoke", tmp_path / "configs/profiles/smoke")
    with pytest.raises(ConfigError, match=r"^--every 721: dynamics of profile smoke has 720 updates; give 1 to 720$"):
        session_command(arguments(every=721), tmp_path)


def test_a_run_of_another_project_is_refused(tmp_path: Path) -> None:
    run = SampleRun(tmp_path / "one")
    with pytest.raises(ConfigError, match=r"it is no run of the project .*; name its project with --project-root"):
        require_ended(run.folder, tmp_path / "another")


def refused(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    """Return the one sentence with which the command refuses."""
    assert main(["bench", "quality", *map(str, words)]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1, said
    return said[0]


def test_bad_input_is_refused_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = ("--project-root", tmp_path)
    run = SampleRun(tmp_path)
    assert "nowhere" in refused(capsys, "--project-root", tmp_path / "nowhere")
    assert "no-profile" in refused(capsys, *here, "--profile", "no-profile")
    assert "there is no such run" in refused(capsys, *here, "--run", "missing")
    assert "it has not ended (it was killed" in refused(capsys, *here, "--run", run.run)
    assert "--seed beside --run" in refused(capsys, *here, "--run", run.run, "--seed", "1")
    assert "--json" in refused(capsys, *here, "--run", run.run, "--json", tmp_path / "none" / "q.json")
    run.add("run_finished", status="passed")
    run.add("report_written", id="A1", path="report.md")
    assert "has no checkpoint of dynamics" in refused(capsys, *here, "--run", run.run)
    (tmp_path / "results/empty").mkdir()
    assert "it has no journal.jsonl" in refused(capsys, *here, "--run", "empty")


def test_the_scene_counts_the_last_frame_as_the_references_do() -> None:
    frames = np.zeros((12, 6, 48, 48, 3), np.uint8)
    for clip in range(12):
        for step in range(6):
            at = 4 + (clip + 5 * step) % 36
            frames[clip, step, 20:24, at : at + 4] = 255
    scene = ObjectScene(frames[:, :3], frames[:, 3:])
    own, other = scene.last_frame(), scene.references()[NAMES["copy_last"]]
    assert own.seen.sum() == 36
    for name in ("hits", "seen", "shown"):
        np.testing.assert_array_equal(getattr(own, name), getattr(other, name))
    assert scene.counted(frames[:, 3:]).hits.sum() == 36
