"""The verdicts of a project over time: rows, CSV and picture, from journals of runs and kept runs.

pytest tests/unit/reports/test_history.py
"""

from __future__ import annotations

import csv
import io
import random
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.helpers.commands import REPOSITORY
from tests.helpers.finished_runs import record_of
from tests.helpers.journal_samples import START, SampleRun
from tinyworlds_gate.cli.main import main
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.reports.history import HistoryRow, as_csv, read_history, row_of
from tinyworlds_gate.reports.history_plot import OTHERS, save_history, segments, series_colours

KEPT_RUNS = 2
OBJECTS = {"no_occasion": None, "recall": 0.8, "recall_low": 0.7, "recall_high": 0.9}


def run_of(root: Path, name: str, mse: float = 0.02, *, day: int = 0, **started: Any) -> SampleRun:
    """A finished run whose journal begins on a day."""
    run = SampleRun.__new__(SampleRun)
    run.root, run.run, run.folder = root, name, root / "results" / name
    run.folder.mkdir(parents=True)
    run.events, run.chunk, run.clock = [], 0, START + day * 86_400
    fields: dict[str, Any] = {"schema": 1, "run": name, "timestamp": "2026_11_23_04_00_00", "profile": "smoke"}
    run.add("run_started", **{**fields, "target": "embedded", "seed": 0, "options": {}, **started})
    run.add("dataset_ready", name="CRAFTER", path="x", sha256="d" * 64)
    run.start_chunk("dynamics")
    run.add("chunk_finished", chunk=1, stage="dynamics", wall_s=120.0)
    measures: dict[str, Any] = {
        "objects": OBJECTS,
        "skill_strongest": 0.3,
        "skill_strongest_low": 0.2,
        "skill_strongest_high": 0.4,
    }
    run.infer(1, mse, **measures)
    return run.finish("passed" if mse <= 0.03 else "failed", "The end.")


def row(at: int, **more: Any) -> HistoryRow:
    values: dict[str, Any] = dict.fromkeys(HistoryRow.__dataclass_fields__)
    texts = dict.fromkeys(("commit", "target", "strongest_baseline", "against_baseline", "source"), "")
    head = {"run": f"run_{at}", "started": START + at * 3600, "profile": "smoke", "game": "CRAFTER"}
    return HistoryRow(**{**values, **texts, **head, "verdict": "PASS", "tone": "PASS", **more})


def test_a_row_has_the_numbers_of_the_journal(tmp_path: Path) -> None:
    found = row_of(record_of(run_of(tmp_path, "smoke_a", 0.02)), "results/smoke_a")
    assert (found.series, found.verdict, found.limit) == ("smoke · CRAFTER", "PASS (before G8)", 0.03)
    assert (found.mse, found.recall, found.recall_high, found.train_minutes) == (0.02, 0.8, 0.9, 2.0)
    assert found.tone == "DEGRADED"


def test_a_number_that_is_not_there_is_none_and_an_empty_field(tmp_path: Path) -> None:
    run = SampleRun(tmp_path, "smoke_killed").prepare()
    found = row_of(record_of(run), "results/smoke_killed")
    assert (found.mse, found.recall, found.train_minutes, found.verdict) == (None, None, None, "no verdict")
    [line] = csv.DictReader(io.StringIO(as_csv([found])))
    assert (line["mse"], line["recall"], line["train_minutes"]) == ("", "", "")


def test_runs_are_in_the_order_of_their_start_and_kept_runs_are_found(tmp_path: Path) -> None:
    run_of(tmp_path, "smoke_b", day=2)
    run_of(tmp_path, "smoke_a", day=3)
    kept = run_of(tmp_path / "elsewhere", "smoke_old", day=1)
    folder = tmp_path / "docs" / "results" / "longrun" / "old"
    folder.mkdir(parents=True)
    (folder / "keep.json").write_text("{}")
    (folder / "journal.jsonl").write_bytes((kept.folder / "journal.jsonl").read_bytes())
    rows, problems = read_history(tmp_path)
    assert ([one.run for one in rows], problems) == (["smoke_old", "smoke_b", "smoke_a"], [])
    assert rows[0].source == "docs/results/longrun/old"
    again, _ = read_history(tmp_path, [folder, folder / "keep.json", kept.folder])
    assert [one.run for one in again] == ["smoke_old", "smoke_b", "smoke_a"], "a run that is there twice counts once"


def test_the_kept_runs_of_this_repository_are_read() -> None:
    rows, problems = read_history(REPOSITORY)
    kept = [one for one in rows if one.profile == "longrun-crafter" and one.source.startswith("docs/results/")]
    assert len(kept) == KEPT_RUNS
    assert problems == [] or all("docs/results" not in one for one in problems)
    assert [one.mse is not None and one.skill_last_frame is not None for one in kept] == [True] * KEPT_RUNS


def test_torn_and_foreign_journals_are_a_sentence_each_and_hide_no_other_run(tmp_path: Path) -> None:
    run_of(tmp_path, "smoke_a")
    torn = run_of(tmp_path, "smoke_torn").folder / "journal.jsonl"
    torn.write_bytes(torn.read_bytes()[:-40].replace(b'"event"', b'"ev\xffnt"', 1))
    (tmp_path / "results" / "empty").mkdir()
    (tmp_path / "results" / "empty" / "journal.jsonl").touch()
    odd = run_of(tmp_path, "smoke_odd")
    odd.add("chunk_started", stage="dynamics", chunk=["x"])
    rows, problems = read_history(tmp_path)
    assert [one.run for one in rows][:1] == ["smoke_a"]
    assert len(problems) == 3 - (len(rows) - 1)
    assert all("\n" not in one for one in problems)


def test_a_journal_that_stops_in_a_line_is_read_up_to_it(tmp_path: Path) -> None:
    journal = run_of(tmp_path, "smoke_a").folder / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-30])
    [found], problems = read_history(tmp_path)
    assert (found.mse, found.verdict, problems) == (0.02, "no verdict", [])


def test_a_folder_without_a_journal_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(GateError, match=r"has no journal\.jsonl"):
        read_history(tmp_path, [tmp_path])


def test_lines_join_only_runs_of_one_profile_game_and_target() -> None:
    rows = [row(0), row(1, profile="longrun"), row(2), row(3, game="PONG"), row(4, target="fork"), row(5, mse=None)]
    joined = segments(rows, [0.1, 0.2, 0.3, 0.4, 0.5, None])
    assert joined == {
        "smoke · CRAFTER": [(0, 0.1), (2, 0.3)],
        "longrun · CRAFTER": [(1, 0.2)],
        "smoke · PONG": [(3, 0.4)],
        "smoke · CRAFTER · fork": [(4, 0.5)],
    }


def test_the_frequent_series_have_colours_of_their_own() -> None:
    rows = [row(at, game=f"G{min(at, 11)}") for at in range(15)]
    colours = series_colours(rows)
    assert colours["smoke · G11"] != OTHERS
    assert list(colours.values()).count(OTHERS) == 12 - 7


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", 'a,b\n"c"', "plain"])
def test_a_text_in_the_csv_is_no_formula_and_one_field(text: str) -> None:
    [line] = csv.DictReader(io.StringIO(as_csv([row(0, profile=text)])))
    assert line["profile"].lstrip("'") == " ".join(text.split())
    assert line["profile"][:1] not in ("=", "+", "-", "@")


@pytest.mark.parametrize("count", [1, 7, 60])
def test_a_picture_of_any_number_of_runs(tmp_path: Path, count: int) -> None:
    drawn = random.Random(count)
    rows = []
    for at in range(count):
        mse = drawn.uniform(0.006, 0.04)
        numbers = {"mse": mse, "mse_low": 0.8 * mse, "mse_high": 1.3 * mse, "limit": 0.03, "train_minutes": 9.0}
        tone = drawn.choice(["PASS", "DEGRADED", "FAIL"])
        rows.append(row(at, profile=drawn.choice(["smoke", "longrun"]), tone=tone, **numbers))
    rows[-1] = row(count - 1, tone="INVALID")
    save_history(rows, "a $project_ name^", tmp_path / "history.png")
    with Image.open(tmp_path / "history.png") as picture:
        found = (picture.format, picture.width)
    assert found == ("PNG", 1210)
    assert (tmp_path / "history.png").stat().st_size < 400_000


# The command.


def test_the_command_writes_picture_and_csv(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_of(tmp_path, "smoke_a")
    picture, table = tmp_path / "new" / "h.png", tmp_path / "h.csv"
    words = ["runs", "--project-root", str(tmp_path), "--plot", str(picture), "--csv", str(table)]
    assert main(words) == 0
    assert capsys.readouterr().out == f"{picture}: 1 run\n{table}: 1 run\n"
    assert picture.read_bytes().startswith(b"\x89PNG")
    [line] = csv.DictReader(io.StringIO(table.read_text()))
    assert (line["run"], line["started_utc"], line["mse"]) == ("smoke_a", "2026-11-23 04:00:00", "0.02")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--plot", "h.png"], "There is no run to show"),
        (["--plot", "h.pdf"], "ends in .png"),
        (["--csv", "h.csv", "--json"], "go without --unfinished and --json"),
        (["--kept", "."], "--kept needs --plot"),
        (["--plot", "h.png", "--kept", "nowhere"], "has no journal.jsonl"),
    ],
)
def test_wrong_options_are_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["runs", "--project-root", str(tmp_path), *words]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("option", "file"), [("--plot", "/proc/no/h.png"), ("--csv", "/proc/no/h.csv")])
def test_a_file_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, file: str
) -> None:
    run_of(tmp_path, "smoke_a")
    assert main(["runs", "--project-root", str(tmp_path), option, file]) == 2
    assert f"{option} {file} cannot be written" in capsys.readouterr().err
