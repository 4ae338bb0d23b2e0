"""`-x -k --lf --collect-only -p no:html -m -n` and `--profile` behave as users of pytest expect."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.tiny_project import (
    JUNIT,
    Session,
    checkpoint_options,
    environment,
    make_project,
    no_checkpoint_in,
    run_pytest,
    runs,
)
from tests.loop.test_retrained_loop import GATE_TEST

COLLECT = ("--collect-only", "-q")


def files_of(project: Path) -> set[str]:
    return {str(path.relative_to(project)) for path in project.rglob("*") if ".git/" not in str(path)}


def collected(session: Session) -> list[str]:
    return [line.partition("::")[0] for line in session.output.splitlines() if "::" in line]


def test_collect_only_trains_nothing_imports_no_torch_and_writes_no_file(project: Path) -> None:
    before = files_of(project)
    done = subprocess.run(
        [sys.executable, "-B", "-X", "importtime", "-m", "pytest", "-s", *COLLECT, "validation"],
        cwd=project,
        env=environment(),
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert "test_the_rollout_passes_the_inference_gate" in done.stdout
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "tinyworlds_gate.plugin.html_page" in modules
    assert not {name for name in modules if name.partition(".")[0] in ("torch", "wandb", "matplotlib", "crafter")}
    assert files_of(project) == before


@pytest.mark.parametrize(
    ("words", "folders"),
    [
        ((), {"tests/test_nothing.py", "validation"}),
        (("-m", "smoke"), {"validation"}),
        (("-m", "longrun"), {"validation"}),
        (("-m", "slow"), set()),
    ],
    ids=["bare", "smoke", "longrun", "slow"],
)
def test_bare_pytest_takes_tests_and_smoke_and_m_chooses(
    project: Path, words: tuple[str, ...], folders: set[str]
) -> None:
    session = run_pytest(project, *COLLECT, *words)
    found = {"validation" if path.startswith("validation/") else path for path in collected(session)}
    assert found == folders, session.output
    assert session.exit_status == (0 if folders else 5)


@pytest.mark.parametrize("kind", ["smoke", "longrun"])
def test_the_power_of_the_gate_is_measured_only_on_request(project: Path, kind: str) -> None:
    loop = run_pytest(project, *COLLECT, "validation", "-m", kind)
    assert [path for path in collected(loop) if "power" in path] == []
    asked = run_pytest(project, *COLLECT, "validation", "-m", "power")
    assert {*collected(asked)} == {"validation/test_power.py"}


def test_m_longrun_runs_on_the_longrun_profile_and_bare_pytest_on_smoke(project: Path) -> None:
    broken = project / "configs/profiles/longrun/profile.yaml"
    broken.write_text(broken.read_text() + "no_such_key: 1\n")
    longrun = run_pytest(project, *COLLECT, "-m", "longrun")
    assert longrun.exit_status == 4
    assert re.search(r"ERROR: .*longrun/profile\.yaml.*no_such_key", longrun.output)
    assert run_pytest(project, *COLLECT).exit_status == 0


@pytest.mark.parametrize("words", [("--profile", "longrun"), ("--profile", "longrun", "-m", "smoke")])
def test_a_profile_whose_tests_m_leaves_out_is_a_usage_error_with_the_fix(
    project: Path, words: tuple[str, ...]
) -> None:
    session = run_pytest(project, "validation", *words)
    assert session.exit_status == 4, session.output
    assert re.search(r"ERROR: --profile longrun is a longrun profile, and -m '.*' leaves", session.output)
    assert "add -m longrun" in session.output
    assert runs(project) == []


@pytest.mark.requirement("H6")
def test_a_long_run_without_gpus_is_refused_at_once_and_starts_only_when_an_option_says_so(project: Path) -> None:
    no_gpu = {"CUDA_VISIBLE_DEVICES": ""}
    session = run_pytest(project, "-m", "longrun", variables=no_gpu)
    assert session.exit_status == 4, session.output
    assert "ERROR: profile longrun needs 2 NVIDIA GPUs, and this machine has none." in session.output
    assert "350000 updates on the CPU" in session.output
    assert runs(project) == []
    allowed = ["-m", "longrun", "-k", "git_history", "--allow-cpu-longrun", "true"]
    assert "ERROR" not in run_pytest(project, *allowed, variables=no_gpu).output
    assert len(runs(project)) == 1


@pytest.mark.parametrize("words", [("-n", "2"), ("-n2",), ("--numprocesses=2",), ("-n", "auto")])
@pytest.mark.requirement("H5")
def test_xdist_is_refused_with_a_sentence_that_says_why(project: Path, words: tuple[str, ...]) -> None:
    session = run_pytest(project, "validation", "-m", "smoke", *words)
    assert session.exit_status == 4, session.output
    assert "the closed loop cannot be split over pytest-xdist workers" in session.output
    assert "Run pytest without -n" in session.output
    assert runs(project) == []


def test_n_0_means_one_process_and_is_allowed(project: Path) -> None:
    assert run_pytest(project, *COLLECT, "-n", "0").exit_status == 0


@pytest.mark.parametrize("words", [("-k", "preparation"), ("-k", "alignment")])
def test_k_preparation_checks_without_training(project: Path, words: tuple[str, ...]) -> None:
    session = run_pytest(project, "validation", "-m", "smoke", *words)
    assert session.exit_status == 0, session.output
    assert session.events("chunk_started") == []
    assert session.found("C1")[0] == session.found("C3")[0] == "PASS"
    assert session.found("G5") == ("NOT-RUN", "its test was deselected by the person who ran this")
    assert "nothing is claimed about the model" in session.output
    assert session.events("run_finished")[0]["status"] not in ("passed", "degraded")


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory, passing: Session, spent: Session) -> tuple[Path, list[str]]:
    """A project, and options with which the gate fails without any training: dynamics after four updates."""
    given = checkpoint_options(passing, "video_tokenizer", "latent_actions") + checkpoint_options(spent, "dynamics")
    return make_project(tmp_path_factory.mktemp("untrained") / "project"), ["--train-stage", "none", *given]


@pytest.mark.slow
def test_x_stops_at_the_failed_gate_and_lf_runs_only_that_test_again(untrained: tuple[Path, list[str]]) -> None:
    project, options = untrained
    first = run_pytest(project, "validation", "-m", "smoke", "-x", *options)
    assert first.exit_status == 1, first.output
    assert "stopping after 1 failures" in first.output
    assert "no retraining: --train-stage none trains no dynamics" in first.output
    assert first.found("H3") == ("NOT-RUN", "the session ended before its test ran")
    assert "**Verdict: FAIL**" in first.report("A1")
    again = run_pytest(project, "validation", "-m", "smoke", "--lf", *options)
    assert again.exit_status == 1, again.output
    assert [case.get("name") for case in again.cases()] == [GATE_TEST]
    assert again.found("C1")[1] == "its test was not selected (a file, a node id or --lf was given)"
    assert len(runs(project)) == 2
    assert no_checkpoint_in(project)


def test_one_file_alone_passes_and_claims_nothing_about_the_model(project: Path) -> None:
    session = run_pytest(project, "validation/test_01_preparation.py")
    assert session.exit_status == 0, session.output
    assert session.events("run_finished")[0]["status"] == "partial"
    assert session.found("G5") == ("NOT-RUN", "its test was not selected (a file, a node id or --lf was given)")


def test_without_pytest_html_the_session_works_and_says_that_the_page_was_not_run(project: Path) -> None:
    session = run_pytest(project, "validation", "-m", "smoke", "-p", "no:html", "-k", "preparation")
    assert session.exit_status == 0, session.output
    assert session.found("A8") == ("NOT-RUN", "by choice (-p no:html): pytest-html is switched off")
    assert list(project.rglob("*.html")) == []
    assert list((project / "docs" / "action").glob("train-to-inference-report-*.md"))


@pytest.mark.slow
@pytest.mark.requirement("A8")
def test_without_pytest_html_a_run_still_reaches_its_verdict(untrained: tuple[Path, list[str]]) -> None:
    project, options = untrained
    session = run_pytest(project, "validation", "-m", "smoke", "-p", "no:html", "--max-mse", "0.9", *options)
    assert session.exit_status == 0, session.output
    assert session.events("run_finished")[0]["status"] == "passed"
    assert session.found("A8")[0] == "NOT-RUN"


def test_a_page_that_the_user_named_is_the_one_that_is_written(project: Path) -> None:
    session = run_pytest(project, "validation", "-m", "smoke", "-k", "preparation", "--html=mine.html")
    assert session.exit_status == 0, session.output
    assert (project / "mine.html").stat().st_size > 10_000
    assert list((project / "docs" / "action").glob("*.html")) == []


def test_tests_without_validation_write_no_page_and_no_run(project: Path) -> None:
    session = run_pytest(project, "tests")
    assert session.exit_status == 0, session.output
    assert runs(project) == []
    assert [path for path in files_of(project) if path.endswith(".html")] == []
    assert (project / JUNIT).exists()


def test_help_lists_the_options_without_starting_anything(project: Path) -> None:
    session = run_pytest(project, "--help")
    assert session.exit_status == 0
    for option in ("--max-mse", "--only-stage", "--retry-chunk", "--numprocesses"):
        assert option in session.output
    assert not (project / "results").exists()
    assert not (project / "docs").exists()
