"""Each mistake of a user is one clear error with its fix, before any training starts."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.helpers.config_files import append, replace_line
from tests.helpers.tiny_project import Session, checkpoint_options, no_checkpoint_in, run_pytest

SMOKE = Path("configs/profiles/smoke")


def refused(session: Session, *words: str) -> None:
    """The session failed before training, with these words (regular expressions) in its output and no traceback."""
    assert session.exit_status in (1, 4), session.output
    for word in words:
        assert re.search(word, session.output), f"{word} is not in:\n{session.output}"
    assert "Traceback" not in session.output
    assert not re.search(r"^\S+\.py:\d+: \w*Error", session.output, re.MULTILINE)
    assert no_checkpoint_in(session.project)
    assert "updates 0 to" not in session.output


def loop(project: Path, *words: str | Path) -> Session:
    return run_pytest(project, "validation", "-m", "smoke", *words, timeout_s=60)


def test_an_unknown_config_key_is_named_with_the_likely_one(project: Path) -> None:
    append(project / SMOKE / "dynamics.yaml", "learning_rat: 0.1")
    session = loop(project)
    refused(session, r"ERROR: .*dynamics\.yaml", "learning_rat", "learning_rate")
    assert session.exit_status == 4


@pytest.mark.requirement("C2")
def test_a_misaligned_backbone_names_both_files_and_values(project: Path) -> None:
    append(project / SMOKE / "latent_actions.yaml", "embed_dim: 64")
    refused(loop(project), r"latent_actions\.yaml", r"training\.yaml", "embed_dim", "64", "32")


@pytest.mark.requirement("C1")
def test_a_misaligned_size_names_both_files_and_values(project: Path) -> None:
    append(project / SMOKE / "video_tokenizer.yaml", "patch_size: 8")
    refused(loop(project), r"video_tokenizer\.yaml", r"training\.yaml", "patch_size", "8", "4")


@pytest.mark.requirement("C3")
def test_a_hard_coded_checkpoint_path_is_refused(project: Path) -> None:
    line = "video_tokenizer_path: results/old/video_tokenizer/checkpoints/video_tokenizer_step_9"
    replace_line(project / SMOKE / "dynamics.yaml", "video_tokenizer_path", line)
    refused(loop(project), r"dynamics\.yaml", "video_tokenizer_path", "results/old", "null|remove|--video-checkpoint")


@pytest.mark.requirement("C2", "C3")
def test_configs_of_the_project_are_checked_beside_the_profile_that_runs(project: Path) -> None:
    """A smoke run reads configs/profiles/smoke; configs/ of the project must hold as well."""
    line = "video_tokenizer_path: results/old/video_tokenizer/checkpoints/video_tokenizer_step_9"
    replace_line(project / "configs" / "dynamics.yaml", "video_tokenizer_path", line)
    append(project / "configs" / "dynamics.yaml", "embed_dim: 999")
    session = loop(project)
    refused(session, r"configs/dynamics\.yaml", "embed_dim", "999", "video_tokenizer_path", "results/old")
    found = {id: session.found(id)[0] for id in ("C1", "C2", "C3")}
    assert found == {"C1": "PASS", "C2": "FAIL", "C3": "FAIL"}
    failed = [case.get("name", "").partition("[")[2] for case in session.cases() if case.find("failure") is not None]
    assert failed == ["C2]", "C3]"]


def test_a_missing_dataset_is_reported_with_the_command_that_downloads_it(project: Path) -> None:
    replace_line(project / SMOKE / "training.yaml", "dataset", "dataset: ZELDA")
    replace_line(project / SMOKE / "inference.yaml", "dataset", "dataset: ZELDA")
    refused(loop(project), r"zelda_frames\.h5", "there is no such file", "tinyworlds-gate data fetch zelda")


def test_a_truncated_dataset_is_one_sentence_and_stays_as_it_is(project: Path) -> None:
    path = project / "data" / "bars_frames.h5"
    path.write_bytes(path.read_bytes()[:5000])
    refused(loop(project), r"bars_frames\.h5 is truncated: 5000 of \d+ bytes are there")
    assert path.stat().st_size == 5000


@pytest.mark.parametrize("name", ["results", "Logs", "inference_results"])
def test_an_output_folder_that_is_a_file_is_named(project: Path, name: str) -> None:
    (project / name).write_text("not a folder\n")
    refused(loop(project), rf"{name}\b.*(File exists|Not a directory)")


def test_a_report_folder_that_is_a_file_is_a_usage_error(project: Path) -> None:
    (project / "docs").write_text("not a folder\n")
    session = loop(project)
    refused(session, r"ERROR: the reports go to .*docs/action, which cannot be made", "--project-root")
    assert session.exit_status == 4


@pytest.mark.requirement("C4")
def test_a_checkpoint_option_with_other_sizes_names_option_checkpoint_and_both_values(
    project: Path, passing: Session
) -> None:
    replace_line(project / SMOKE / "training.yaml", "embed_dim", "embed_dim: 64")
    given = checkpoint_options(passing, "video_tokenizer")
    refused(
        loop(project, "--checkpoint-policy", "latest", *given),
        r"--video-checkpoint .*video_tokenizer_step_119: embed_dim is 32 in the checkpoint, but 64 in",
        "training.yaml",
        "set embed_dim: 32",
    )


@pytest.mark.requirement("C4")
def test_a_truncated_checkpoint_of_an_option_is_refused(project: Path, passing: Session, tmp_path: Path) -> None:
    copy = tmp_path / "video_tokenizer_step_119"
    shutil.copytree(passing.run / "video_tokenizer" / "checkpoints" / "video_tokenizer_step_119", copy)
    model = copy / "model_state_dict.pt"
    model.write_bytes(model.read_bytes()[:900])
    given = checkpoint_options(passing, "latent_actions", "dynamics")
    session = loop(project, "--train-stage", "none", "--video-checkpoint", copy, *given)
    refused(session, r"video_tokenizer_step_119", r"model_state_dict\.pt")
    assert session.events("inference_started") == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--max-mse", "banana"), r"argument --max-mse: 'banana' is not a number; give a number above 0"),
        (("--max-mse", "nan"), r"argument --max-mse: nan is not allowed"),
        (("--video-chunk", "-3"), r"argument --video-chunk: -3 is not allowed; give a whole number from 1"),
        (("--train-stage", "tokenizer"), r"argument --train-stage/--only-stage: 'tokenizer' is not known; use one of"),
        (("--cleanup-extra-processes", "maybe"), r"--cleanup-extra-processes: 'maybe' is neither true nor false"),
        (("--profile", "smok"), r"ERROR: There is no profile `smok`.*smoke"),
        (("--train-stage", "none"), r"ERROR: --train-stage none .* needs --video-checkpoint, --latent-checkpoint"),
        (("--max-msee", "0.1"), r"unrecognized arguments: --max-msee"),
    ],
    ids=lambda value: "=".join(value) if isinstance(value, tuple) else "",
)
def test_a_bad_option_is_a_usage_error_that_names_it(project: Path, words: tuple[str, ...], message: str) -> None:
    session = loop(project, *words)
    refused(session, message)
    assert session.exit_status == 4
    assert not (project / "results").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--generation-steps", "100"),
            r"no clip of 103 frames fits: the longest chosen episode has 20 frames; fix: .*generation_steps",
        ),
        (("--context-window", "4"), r"context_window=4 and prediction_horizon=1 do not fit into context_length=4"),
    ],
    ids=["too-long", "wider-than-the-models"],
)
def test_a_rollout_that_cannot_be_measured_is_reported_before_training(
    project: Path, words: tuple[str, ...], message: str
) -> None:
    refused(loop(project, *words), message)


def test_a_mistake_makes_every_report_and_the_page_say_what_it_was(project: Path) -> None:
    append(project / SMOKE / "latent_actions.yaml", "embed_dim: 64")
    session = loop(project)
    assert "**Verdict: FAIL**" in session.report("A1")
    assert "embed_dim" in session.report("A1")
    assert "embed_dim" in session.page.read_text(encoding="utf-8")
