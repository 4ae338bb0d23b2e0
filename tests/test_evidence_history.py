"""The analysis of the local metric history and its plots (L9, A3, A4).

Run: pytest tests/test_evidence_history.py
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from matplotlib.image import imread

from tests.helpers.journal_samples import COLUMNS, STAGES, STAMP, write_history
from tinyworlds_gate.evidence.history import (
    LOSS,
    analyse,
    analyse_stage,
    first_and_last_tenth,
    history_of_checkpoint,
    local_histories,
    read_history,
    rolling_mean,
)

RUN = "smoke_sample"


@pytest.fixture
def histories(tmp_path: Path) -> dict[str, Path]:
    """A history of each stage under the project `tmp_path`."""
    paths = local_histories(tmp_path, RUN)
    for stage, path in paths.items():
        write_history(path, stage, 200, 1.9 if stage == "dynamics" else 0.007)
    return paths


def rows_file(path: Path, *rows: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([",".join(COLUMNS), *rows]) + "\n", encoding="utf-8")
    return path


@pytest.mark.requirement("L9", "A3")
def test_a_whole_history_of_three_stages_passes_and_is_written_as_json(
    tmp_path: Path, histories: dict[str, Path]
) -> None:
    analysis = analyse(tmp_path, RUN, STAMP, "local_only", histories)
    data = json.loads((tmp_path / f"docs/action/wandb-analysis-{STAMP}.json").read_text(encoding="utf-8"))
    assert (analysis.verdict, data["verdict"], data["source"]) == ("PASS", "PASS", "local")
    assert [row["stage"] for row in data["per_stage"]] == list(STAGES)


@pytest.mark.requirement("A4")
def test_each_stage_gets_the_plots_of_what_its_history_holds(tmp_path: Path, histories: dict[str, Path]) -> None:
    plots = analyse(tmp_path, RUN, STAMP, "local_only", histories).plots
    assert sorted(Path(plot).stem for plot in plots) == [
        "dynamics_first_vs_last_tenth",
        "dynamics_learning_rate",
        "dynamics_loss",
        "latent_actions_action_entropy",
        "latent_actions_codebook_usage",
        "latent_actions_learning_rate",
        "latent_actions_loss",
        "latent_actions_unique_actions",
        "video_tokenizer_codebook_usage",
        "video_tokenizer_learning_rate",
        "video_tokenizer_loss",
    ]
    for plot in plots:
        height, width, _ = imread(tmp_path / plot).shape
        assert (width > 900, height > 400) == (True, True), plot
        assert plot.startswith(f"docs/action/plots/wandb-analysis-{STAMP}/")


@pytest.mark.requirement("L9")
def test_api_first_without_a_recorded_run_says_so_and_uses_the_local_history(
    tmp_path: Path, histories: dict[str, Path]
) -> None:
    analysis = analyse(tmp_path, RUN, STAMP, "api_first", histories)
    assert (analysis.verdict, analysis.source) == ("PASS", "local")
    assert analysis.notes == ("No W&B run was recorded for this run, so the local history was used.",)


@pytest.mark.requirement("L9")
def test_api_only_without_a_recorded_run_is_invalid_with_its_reason(tmp_path: Path, histories: dict[str, Path]) -> None:
    analysis = analyse(tmp_path, RUN, STAMP, "api_only", histories)
    assert (analysis.verdict, analysis.plots) == ("INVALID", ())
    assert "no W&B run was recorded for this run" in analysis.reason


@pytest.mark.requirement("L9")
def test_a_missing_history_is_invalid_and_names_the_file(tmp_path: Path, histories: dict[str, Path]) -> None:
    histories["latent_actions"].unlink()
    analysis = analyse(tmp_path, RUN, STAMP, "local_only", histories)
    assert analysis.verdict == "INVALID"
    assert f"Logs/latent_actions_history_{RUN}.csv is missing" in analysis.reason
    assert [row.stage for row in analysis.per_stage] == ["video_tokenizer", "dynamics"]


@pytest.mark.requirement("L9")
def test_a_history_without_any_finite_loss_is_invalid(tmp_path: Path) -> None:
    path = rows_file(tmp_path / "Logs/h.csv", "0,1.0,nan,0.001,,,,,", "1,2.0,inf,0.001,,,,,")
    analysis = analyse(tmp_path, RUN, STAMP, "local_only", {"dynamics": path})
    assert analysis.verdict == "INVALID"
    assert "Logs/h.csv holds no finite loss" in analysis.reason
    assert analysis.per_stage[0].losses_not_finite == 2


def test_nothing_trained_is_not_run_and_no_pass(tmp_path: Path) -> None:
    analysis = analyse(tmp_path, RUN, STAMP, "local_only", {})
    assert analysis.verdict == "NOT-RUN"
    assert analysis.reason == "No stage was trained in this run, and no history of a given checkpoint lies in Logs/."


def test_an_unknown_source_is_refused_with_the_allowed_ones(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'cloud' is unknown; allowed: api_first, api_only, local_only"):
        analyse(tmp_path, RUN, STAMP, "cloud", {})


def test_a_torn_last_row_is_left_out_and_counted(tmp_path: Path) -> None:
    path = rows_file(tmp_path / "h.csv", "0,1.0,0.5,0.001,,,,,", "1,2.0,0.4,0.001,,,,,")
    with path.open("a", encoding="utf-8") as file:
        file.write("2,3.0,0.")
    history = read_history("dynamics", path)
    assert (history.steps, history.unreadable_rows) == ((0, 1), 1)


def test_of_a_repeated_update_the_last_value_counts(tmp_path: Path) -> None:
    path = rows_file(tmp_path / "h.csv", "0,1,0.5,,,,,,", "1,2,0.4,,,,,,", "1,3,0.3,,,,,,")
    history = read_history("dynamics", path)
    assert history.points(LOSS) == ([0, 1], [0.5, 0.3])
    assert history.repeated_steps == 1


def test_missing_values_stay_missing_and_are_not_zero(tmp_path: Path) -> None:
    path = rows_file(tmp_path / "h.csv", "0,1,0.5,,,,,,", "1,2,,,,,,,")
    history = read_history("dynamics", path)
    assert history.columns[LOSS] == (0.5, None)
    assert analyse_stage(history, "h.csv").action_entropy_nats_last_tenth is None


def test_the_sentence_tells_where_the_loss_went(tmp_path: Path) -> None:
    rows = [f"{i},1,{1.0 - 0.01 * i},,,,,," for i in range(50)]
    analysis = analyse_stage(read_history("dynamics", rows_file(tmp_path / "h.csv", *rows)), "h.csv")
    expected = "fell from 0.98 (mean of the first tenth) to 0.53 (mean of the last tenth) over 50 recorded updates"
    assert expected in analysis.sentence


def test_a_rising_loss_is_called_rising(tmp_path: Path) -> None:
    rows = [f"{i},1,{1.0 + i},,,,,," for i in range(20)]
    analysis = analyse_stage(read_history("dynamics", rows_file(tmp_path / "h.csv", *rows)), "h.csv")
    assert "The loss rose from 1.5" in analysis.sentence


def test_one_single_update_can_still_be_analysed_and_plotted(tmp_path: Path) -> None:
    path = rows_file(tmp_path / "h.csv", "0,1,0.5,0.001,,,,,")
    analysis = analyse(tmp_path, RUN, STAMP, "local_only", {"dynamics": path})
    assert (analysis.verdict, len(analysis.plots)) == ("PASS", 2)


def test_the_rolling_mean_looks_back_over_its_window() -> None:
    assert rolling_mean([1.0, 2.0, 3.0, 4.0], 2) == [1.0, 1.5, 2.5, 3.5]


def test_the_tenths_hold_at_least_one_value() -> None:
    assert first_and_last_tenth([3.0, 1.0, 2.0]) == ([3.0], [2.0])
    assert first_and_last_tenth([]) == ([], [])


def test_a_given_checkpoint_leads_to_the_history_of_the_run_it_came_from(
    tmp_path: Path, histories: dict[str, Path]
) -> None:
    given = tmp_path / "results" / RUN / "dynamics" / "checkpoints" / "dynamics_step_199"
    assert history_of_checkpoint(tmp_path, given) == histories["dynamics"]
    assert history_of_checkpoint(tmp_path, tmp_path / "elsewhere" / "dynamics_step_199") is None
