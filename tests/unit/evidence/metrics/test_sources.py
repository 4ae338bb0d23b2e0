"""Where a stage's history is found: W&B's API, `Logs/`, the run's own `.wandb` files, in the order that is asked (L9).

Run: pytest tests/unit/evidence/metrics/test_sources.py
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.journal_samples import COLUMNS, STAMP
from tests.helpers.wandb_runs import write_offline_runs
from tests.helpers.wandb_server import ENTITY, PROJECT, ServedRun, WandbServer, serving
from tinyworlds_gate.evidence.metrics.analysis import WandbAnalysis, analyse
from tinyworlds_gate.evidence.metrics.history import LEARNING_RATE, LOSS, History, Row, history_of_rows
from tinyworlds_gate.evidence.metrics.inputs import StageInput, history_problem, merge_rows, stage_inputs
from tinyworlds_gate.evidence.metrics.local import local_histories, read_history
from tinyworlds_gate.evidence.metrics.sources import Found, Try, choose, find_histories
from tinyworlds_gate.evidence.metrics.wandb_file import find_files
from tinyworlds_gate.evidence.metrics.wandb_reader import Patience, ask
from tinyworlds_gate.evidence.metrics.wandb_rows import LoggedRun, RunAnswer
from tinyworlds_gate.run.layout import RunLayout

RUN = "run_1"
QUICK = Patience(timeout_s=2, stall_s=20, deadline_s=40)
WHOLE, TORN, DAMAGED, NO_FILE = "a" * 12, "b" * 12, "c" * 12, "d" * 12


def history(updates: Sequence[int], loss: float = 0.5) -> History:
    return history_of_rows("dynamics", Path("h.csv"), {step: {LOSS: loss} for step in updates})


def csv_history(root: Path, stage: str, updates: int) -> Path:
    """A local history with the first `updates` updates."""
    path = local_histories(root, RUN)[stage]
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"{step},1.0,0.5,0.001,,,,," for step in range(updates)]
    path.write_text("\n".join([",".join(COLUMNS), *rows]) + "\n", encoding="utf-8")
    return path


def logged(run_id: str, start: int, end: int) -> LoggedRun:
    return LoggedRun(run_id, PROJECT, None, start, end)


# What the journal says.


def chunk(stage: str, start: int, end: int, run_id: str | None) -> dict[str, object]:
    wandb = {"id": run_id, "project": PROJECT, "entity": None, "mode": "offline"} if run_id else None
    return {"event": "chunk_started", "stage": stage, "start_update": start, "end_update": end, "wandb": wandb}


def finished(stage: str, updates: int) -> dict[str, object]:
    return {"event": "stage_finished", "stage": stage, "updates": updates}


@pytest.mark.requirement("L9")
def test_the_journal_names_the_runs_of_each_stage_and_the_updates_that_count() -> None:
    events = [
        chunk("latent_actions", 0, 10, WHOLE),
        chunk("dynamics", 100, 150, TORN),
        chunk("dynamics", 130, 180, DAMAGED),
        finished("dynamics", 170),
    ]
    (found,) = stage_inputs(events, {"dynamics": Path("h.csv")})
    assert found.logged == (logged(TORN, 100, 150), logged(DAMAGED, 130, 180))
    assert found.updates == range(100, 170)


def test_an_older_journal_without_wandb_runs_leads_to_the_local_history() -> None:
    event = chunk("dynamics", 0, 10, None)
    del event["wandb"]
    (found,) = stage_inputs([event, finished("dynamics", 10)], {"dynamics": Path("h.csv")})
    assert (found.logged, found.updates) == ((), range(10))


def test_a_stage_with_an_existing_checkpoint_needs_no_updates() -> None:
    assert stage_inputs([], {"dynamics": Path("h.csv")}) == [StageInput("dynamics", Path("h.csv"))]


def test_a_chunk_that_went_back_replaces_what_the_earlier_try_had_logged() -> None:
    def rows(start: int, end: int, loss: float) -> dict[int, Row]:
        return {step: {LOSS: loss} for step in range(start, end)}

    sought = StageInput("dynamics", Path("h.csv"), (logged("x", 0, 10), logged("y", 4, 12), logged("z", 12, 20)))
    answers = {"x": RunAnswer("x", rows(0, 10, 9.0)), "y": RunAnswer("y", rows(4, 8, 1.0)), "z": RunAnswer("z", {})}
    assert merge_rows(sought, answers) == rows(0, 4, 9.0) | rows(4, 8, 1.0)


# Which source is taken.


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (history([]), "holds no row"),
        (history(range(4), math.nan), "holds no finite loss"),
        (history([0, 1, 3]), "lacks 1 of the 4 updates 0 to 3, the first is 2"),
        (history(range(9)), None),
    ],
)
def test_a_history_counts_when_it_has_every_update_and_a_loss(found: History, problem: str | None) -> None:
    assert history_problem(found, range(4)) == problem


@pytest.mark.requirement("L9")
def test_the_first_source_without_a_problem_is_taken_and_the_earlier_ones_say_why_not() -> None:
    tries = [Try("api", None, "no key"), Try("local", history([1, 2]), None), Try("offline", history([1]), None)]
    assert choose("dynamics", tries) == Found("dynamics", "local", history([1, 2]), (Try("api", None, "no key"),))


@pytest.mark.requirement("L9")
def test_without_a_complete_source_the_longest_is_shown_with_every_problem() -> None:
    tries = [
        Try("api", history([1]), "lacks 2"),
        Try("local", history([1, 2]), "lacks 1"),
        Try("offline", None, "gone"),
    ]
    found = choose("dynamics", tries)
    assert (found.source, found.history) == ("local", history([1, 2]))
    assert found.problem == "W&B's API: lacks 2; Logs/: lacks 1; the run's own .wandb files: gone"


@pytest.mark.requirement("L9")
@pytest.mark.parametrize("mode", ["offline", "disabled", "dryrun"])
def test_with_wandb_offline_no_server_is_contacted(tmp_path: Path, mode: str) -> None:
    layout = RunLayout(tmp_path, RUN).create()
    sought = StageInput("dynamics", csv_history(tmp_path, "dynamics", 4), (logged(NO_FILE, 0, 4),), range(4))
    (found,) = find_histories([sought], "api_first", layout, {"WANDB_MODE": mode}, QUICK)
    assert found.refused == (Try("api", None, f"WANDB_MODE={mode} is set, so no server is contacted"),)
    assert found.source == "local"
    assert not (layout.logs / "wandb_api.log").exists()


# The run's own .wandb files.


@pytest.fixture(scope="module")
def offline_runs(tmp_path_factory: pytest.TempPathFactory) -> RunLayout:
    """A project with three offline runs of 400 updates: whole, cut in mid-record, and with a damaged block."""
    layout = RunLayout(tmp_path_factory.mktemp("project"), RUN).create()
    write_offline_runs(layout.project_root, (WHOLE, 0, 400), (TORN, 0, 400), (DAMAGED, 0, 400))
    (torn,), (damaged,) = (find_files([layout.project_root], run_id) for run_id in (TORN, DAMAGED))
    torn.write_bytes(torn.read_bytes()[:50_001])
    content = bytearray(damaged.read_bytes())
    content[40_000] ^= 0xFF
    damaged.write_bytes(content)
    return layout


@pytest.fixture(scope="module")
def read_offline(offline_runs: RunLayout) -> dict[str, RunAnswer]:
    runs = [logged(run_id, 0, 400) for run_id in (WHOLE, TORN, DAMAGED, NO_FILE)]
    answered = ask("offline", runs, offline_runs, QUICK)
    assert answered.problem is None
    return dict(answered.runs)


@pytest.mark.requirement("L9")
def test_an_offline_run_is_read_whole_from_its_own_file(read_offline: dict[str, RunAnswer]) -> None:
    answer = read_offline[WHOLE]
    assert (answer.problem, sorted(answer.rows)) == (None, list(range(400)))
    assert answer.rows[8] == {LOSS: 5.0, LEARNING_RATE: 5e-4}
    assert math.isnan(answer.rows[3][LOSS] or 0.0)


@pytest.mark.requirement("L9")
def test_a_truncated_file_gives_the_rows_before_the_cut(read_offline: dict[str, RunAnswer]) -> None:
    answer = read_offline[TORN]
    assert 50 < len(answer.rows) < 200
    assert sorted(answer.rows) == list(range(len(answer.rows)))
    assert "incomplete .wandb file" in (answer.problem or "")


@pytest.mark.requirement("L9")
def test_a_damaged_block_loses_only_its_own_rows_and_is_reported(read_offline: dict[str, RunAnswer]) -> None:
    answer = read_offline[DAMAGED]
    assert 250 < len(answer.rows) < 400
    assert {0, 399} <= answer.rows.keys()
    assert "skipped corrupt data" in (answer.problem or "")


@pytest.mark.requirement("L9")
def test_a_run_without_a_file_is_not_taken_from_another_run(read_offline: dict[str, RunAnswer]) -> None:
    assert read_offline[NO_FILE].rows == {}
    assert read_offline[NO_FILE].problem == f"no file run-{NO_FILE}.wandb lies under wandb/"


# All of it together, with wandb's own client.


@pytest.fixture(scope="module")
def together(offline_runs: RunLayout) -> WandbAnalysis:
    """`api_first`: the server has the tokenizer's two chunks, half of the latent actions, and nothing of dynamics."""
    layout, root = offline_runs, offline_runs.project_root
    rows = [{"_step": step, LOSS: 5 - step / 10} for step in range(40)]
    server = WandbServer({"vt1": ServedRun(rows[:20]), "vt2": ServedRun(rows), "la": ServedRun(rows, fault="capped")})
    sought = [
        StageInput("video_tokenizer", Path("none"), (logged("vt1", 0, 20), logged("vt2", 20, 40)), range(40)),
        StageInput("latent_actions", csv_history(root, "latent_actions", 40), (logged("la", 0, 40),), range(40)),
        StageInput("dynamics", csv_history(root, "dynamics", 7), (logged(WHOLE, 0, 400),), range(400)),
    ]
    with pytest.MonkeyPatch.context() as patch, serving(server):
        for name, value in server.environment().items():
            patch.setenv(name, value)
        return analyse(layout, STAMP, "api_first", sought, patience=QUICK)


@pytest.mark.requirement("L9", "A3")
def test_each_stage_is_analysed_from_the_first_source_that_has_it_whole(together: WandbAnalysis) -> None:
    assert (together.verdict, together.source) == ("PASS", "api, local, offline")
    assert [(one.source, one.rows) for one in together.per_stage] == [("api", 40), ("local", 40), ("offline", 400)]
    assert together.reason == (
        "The history of 3 stages was read and plotted: video_tokenizer from W&B's API; latent_actions from Logs/; "
        "dynamics from the run's own .wandb files."
    )


@pytest.mark.requirement("L9", "A3")
def test_it_says_why_each_earlier_source_was_not_used(together: WandbAnalysis) -> None:
    assert [(one.source, one.stages) for one in together.not_used] == [
        ("api", ("latent_actions",)),
        ("api", ("dynamics",)),
        ("local", ("dynamics",)),
    ]
    assert "lacks 20 of the 40 updates 0 to 39, the first is 20" in together.not_used[0].reason
    assert f"{ENTITY}/{PROJECT}/{WHOLE}: wandb says: Could not find run" in together.not_used[1].reason
    assert together.not_used[2].reason == (
        f"Logs/dynamics_history_{RUN}.csv lacks 393 of the 400 updates 0 to 399, the first is 7"
    )


@pytest.mark.requirement("L9", "A3")
def test_what_came_from_wandb_is_kept_beside_the_run_and_named(
    together: WandbAnalysis, offline_runs: RunLayout
) -> None:
    tokenizer, _, dynamics = together.per_stage
    assert tokenizer.wandb_runs == (f"{ENTITY}/{PROJECT}/vt1", f"{ENTITY}/{PROJECT}/vt2")
    assert tokenizer.history == f"results/{RUN}/wandb_history/video_tokenizer_history_api.csv"
    assert dynamics.history == f"results/{RUN}/wandb_history/dynamics_history_offline.csv"
    kept = read_history("video_tokenizer", offline_runs.project_root / tokenizer.history)
    assert kept.points(LOSS) == (list(range(40)), [5 - step / 10 for step in range(40)])


@pytest.mark.requirement("A3")
def test_the_json_and_the_journal_say_the_same(together: WandbAnalysis, offline_runs: RunLayout) -> None:
    path = offline_runs.actions / f"wandb-analysis-{STAMP}.json"
    data, event = json.loads(path.read_text(encoding="utf-8")), together.event("a.json")
    assert data["notes"] == list(together.notes)
    assert data["not_used"] == json.loads(json.dumps(event["not_used"]))
    assert {row["stage"]: row["source"] for row in data["per_stage"]} == {
        stage: one["source"] for stage, one in event["sources"].items()
    }


def test_a_run_id_of_another_length_or_name_is_no_pattern(offline_runs: RunLayout) -> None:
    assert find_files([offline_runs.project_root], "a" * 11) == []
    assert len(find_files([offline_runs.project_root], WHOLE)) == 1


def test_local_only_never_asks_the_server(offline_runs: RunLayout, tmp_path: Path) -> None:
    sought = StageInput("dynamics", tmp_path / "none.csv", (logged(WHOLE, 0, 400),), range(400))
    layout = replace(offline_runs, run="run_2").create()
    (found,) = find_histories([sought], "local_only", layout, {}, QUICK)
    assert (found.source, [one.source for one in found.refused]) == ("offline", ["local"])
    assert not (layout.logs / "wandb_api.log").exists()
