"""The analysis of the stages' metrics and its plots (L9, A3, A4), from local histories.

Run: pytest tests/unit/evidence/metrics/test_analysis.py
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from matplotlib.image import imread

from tests.helpers.journal_samples import COLUMNS, STAGES, STAMP, write_history
from tinyworlds_gate.evidence.metrics.analysis import WandbAnalysis, analyse, analyse_stage
from tinyworlds_gate.evidence.metrics.inputs import StageInput
from tinyworlds_gate.evidence.metrics.local import local_histories, read_history
from tinyworlds_gate.run.layout import RunLayout

RUN = "smoke_sample"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a whole history of each stage."""
    root = tmp_path_factory.mktemp("project")
    for stage, path in local_histories(root, RUN).items():
        write_history(path, stage, 200, 1.9 if stage == "dynamics" else 0.007)
    return root


@pytest.fixture(scope="module")
def whole(project: Path) -> WandbAnalysis:
    """Its analysis, with the plots drawn."""
    return analysed(project, "api_first", *inputs_in_logs(project))


def inputs_in_logs(root: Path) -> list[StageInput]:
    return [StageInput(stage, path, updates=range(200)) for stage, path in local_histories(root, RUN).items()]


def analysed(root: Path, asked: str, *sought: StageInput) -> WandbAnalysis:
    return analyse(RunLayout(root, RUN), STAMP, asked, sought, environment={})


def dynamics(root: Path, *rows: str) -> StageInput:
    """Dynamics with these rows in its CSV."""
    path = local_histories(root, RUN)["dynamics"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([",".join(COLUMNS), *rows]) + "\n", encoding="utf-8")
    return StageInput("dynamics", path)


@pytest.mark.requirement("L9", "A3")
def test_a_whole_history_of_three_stages_passes_and_is_written_as_json(project: Path, whole: WandbAnalysis) -> None:
    data = json.loads((project / f"docs/action/wandb-analysis-{STAMP}.json").read_text(encoding="utf-8"))
    assert (whole.verdict, data["verdict"], data["source"]) == ("PASS", "PASS", "local")
    assert [row["stage"] for row in data["per_stage"]] == list(STAGES)
    assert whole.reason == (
        "The history of 3 stages was read and plotted: video_tokenizer, latent_actions and dynamics from Logs/."
    )


@pytest.mark.requirement("A4")
def test_each_stage_gets_the_plots_of_what_its_history_holds(project: Path, whole: WandbAnalysis) -> None:
    assert sorted(Path(plot).stem for plot in whole.plots) == [
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
    for plot in whole.plots:
        height, width, _ = imread(project / plot).shape
        assert (width > 900, height > 400) == (True, True), plot
        assert plot.startswith(f"docs/action/plots/wandb-analysis-{STAMP}/")


@pytest.mark.requirement("L9")
def test_the_analysis_says_why_the_api_was_not_used(whole: WandbAnalysis) -> None:
    assert whole.notes == (
        "W&B's API was not used for video_tokenizer, latent_actions and dynamics: no chunk logged to W&B "
        "(use_wandb is false, or WANDB_MODE=disabled).",
    )
    assert whole.event("a.json")["not_used"][0]["source"] == "api"
    assert whole.event("a.json")["sources"]["dynamics"] == {"source": "local", "wandb_runs": ()}


@pytest.mark.requirement("L9")
def test_api_only_without_a_wandb_run_is_invalid_with_its_reason(project: Path) -> None:
    analysis = analyse(RunLayout(project, "other"), "2026_01_01_00_00_00", "api_only", inputs_in_logs(project))
    assert (analysis.verdict, analysis.source, analysis.plots) == ("INVALID", "none", ())
    assert "video_tokenizer: W&B's API: no chunk logged to W&B" in analysis.reason
    assert "api_first and local_only look on this machine too" in analysis.reason


@pytest.mark.requirement("L9")
def test_a_missing_history_is_invalid_and_names_the_file(tmp_path: Path) -> None:
    here, gone = dynamics(tmp_path, "0,1.0,0.5,0.001,,,,,"), tmp_path / "Logs" / f"latent_actions_history_{RUN}.csv"
    analysis = analysed(tmp_path, "local_only", StageInput("latent_actions", gone), here)
    assert analysis.verdict == "INVALID"
    assert f"Logs/latent_actions_history_{RUN}.csv is missing" in analysis.reason
    assert [row.stage for row in analysis.per_stage] == ["dynamics"]


@pytest.mark.requirement("L9")
def test_a_history_without_any_finite_loss_is_invalid(tmp_path: Path) -> None:
    analysis = analysed(tmp_path, "local_only", dynamics(tmp_path, "0,1.0,nan,0.001,,,,,", "1,2.0,inf,0.001,,,,,"))
    assert analysis.verdict == "INVALID"
    assert f"Logs/dynamics_history_{RUN}.csv holds no finite loss" in analysis.reason
    assert analysis.per_stage[0].losses_not_finite == 2


def test_nothing_trained_is_not_run_and_no_pass(tmp_path: Path) -> None:
    analysis = analysed(tmp_path, "local_only")
    assert analysis.verdict == "NOT-RUN"
    assert analysis.reason == "No stage was trained in this run, and no history of a given checkpoint was found."


@pytest.mark.requirement("L9")
def test_api_only_is_invalid_where_there_is_nothing_to_read(tmp_path: Path) -> None:
    analysis = analysed(tmp_path, "api_only")
    assert analysis.verdict == "INVALID"
    assert analysis.reason.endswith("--wandb-source api_only was given, and nothing could be read from W&B.")


def test_an_unknown_source_is_refused_with_the_allowed_ones(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'cloud' is unknown; allowed: api_first, api_only, local_only"):
        analysed(tmp_path, "cloud")


def test_a_metric_that_a_stage_does_not_log_stays_null(tmp_path: Path) -> None:
    history = read_history("dynamics", dynamics(tmp_path, "0,1,0.5,,,,,,", "1,2,,,,,,,").local)
    assert analyse_stage(history, "h.csv", "local", ()).action_entropy_nats_last_tenth is None


def test_the_sentence_describes_the_change_of_the_loss(tmp_path: Path) -> None:
    rows = [f"{i},1,{1.0 - 0.01 * i},,,,,," for i in range(50)]
    sentence = analyse_stage(read_history("dynamics", dynamics(tmp_path, *rows).local), "h.csv", "local", ()).sentence
    expected = "fell from 0.98 (mean of the first tenth) to 0.53 (mean of the last tenth) over 50 recorded updates"
    assert expected in sentence


def test_a_rising_loss_is_called_rising(tmp_path: Path) -> None:
    rows = [f"{i},1,{1.0 + i},,,,,," for i in range(20)]
    sentence = analyse_stage(read_history("dynamics", dynamics(tmp_path, *rows).local), "h.csv", "local", ()).sentence
    assert "The loss rose from 1.5" in sentence


def test_one_single_update_can_still_be_analysed_and_plotted(tmp_path: Path) -> None:
    analysis = analysed(tmp_path, "local_only", dynamics(tmp_path, "0,1,0.5,0.001,,,,,"))
    assert (analysis.verdict, len(analysis.plots)) == ("PASS", 2)
