"""The workflows that users run and copy: they load, their commands exist, evidence is kept after a failure too.

pytest tests/unit/test_workflows.py
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers.ci_commands import calls_in, gate_words, make_target, pytest_words, steps_of, unwrap
from tests.helpers.commands import REPOSITORY
from tests.helpers.options_parsing import parsed
from tests.helpers.tiny_project import environment
from tinyworlds_gate import __version__
from tinyworlds_gate.cli.main import COMMANDS, _parser
from tinyworlds_gate.plugin.options import explicit_options, require_valid, selects

pytest_plugins = ["pytester"]

FOLDER = REPOSITORY / ".github" / "workflows"
MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
NAMES = ("gate", "nightly", "release")
CI_PAGE = (REPOSITORY / "docs" / "ci.md").read_text(encoding="utf-8")
INIT_WORKFLOW = REPOSITORY / "tinyworlds_gate" / "cli" / "init_files" / "tinyworlds-gate.yml"
USES = re.compile(r"uses: ([\w.-]+/[\w./-]+)@(.*)")
PINNED = re.compile(r"[0-9a-f]{40}  # v\d+\.\d+\.\d+")


def workflow(name: str) -> dict[Any, Any]:
    loaded = yaml.safe_load((FOLDER / f"{name}.yml").read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


def init_workflow() -> dict[Any, Any]:
    """The workflow that `tinyworlds-gate init` writes."""
    loaded = yaml.safe_load(INIT_WORKFLOW.read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


def documented_shell() -> list[str]:
    """The scripts and the commands in the text of docs/ci.md."""
    blocks = re.findall(r"```bash\n(.*?)```", CI_PAGE, re.DOTALL)
    return blocks + re.findall(r"(?<!`)`((?:tinyworlds-gate|pytest) [^`]+)`", CI_PAGE)


def scripts() -> list[str]:
    """Every script of the workflows, of the one that `init` writes, and of docs/ci.md."""
    named = [*map(workflow, NAMES), init_workflow()]
    return [step["run"] for one in named for step in steps_of(one) if "run" in step] + documented_shell()


def calls() -> list[list[str]]:
    return [call for script in scripts() for call in calls_in(script)]


def step_with(words: str, name: str) -> dict[str, Any]:
    """The only step of a workflow that calls or uses something."""
    [step] = [step for step in steps_of(workflow(name)) if words in step.get("run", step.get("uses", ""))]
    return step


# Every file and every command.


@pytest.mark.parametrize("loaded", [*map(workflow, NAMES), init_workflow()], ids=lambda loaded: loaded["name"])
def test_a_workflow_may_only_read_and_every_job_ends_by_itself(loaded: dict[Any, Any]) -> None:
    assert loaded["permissions"] == {"contents": "read"}
    assert all(0 < job["timeout-minutes"] <= 1440 for job in loaded["jobs"].values())
    assert all(("run" in step) != ("uses" in step) for step in steps_of(loaded))


def test_every_action_is_pinned_to_a_commit_and_to_the_same_one_everywhere() -> None:
    files = [*(FOLDER / f"{name}.yml" for name in NAMES), INIT_WORKFLOW]
    used = {match.groups() for path in files for match in USES.finditer(path.read_text(encoding="utf-8"))}
    assert len(used) == 5
    assert [pin for _, pin in used if not PINNED.fullmatch(pin)] == []
    assert len({action for action, _ in used}) == len(used)


@pytest.mark.parametrize("name", ["run", "try-wheel"])
def test_the_scripts_of_ci_can_be_run(name: str) -> None:
    path = REPOSITORY / ".ci" / name
    assert os.access(path, os.X_OK)
    subprocess.run(["bash", "-n", path], check=True)


@pytest.mark.parametrize("script", scripts())
def test_every_script_is_one_that_bash_can_read(script: str) -> None:
    done = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_call_of_make_names_a_target_and_options_of_pytest(pytester: pytest.Pytester) -> None:
    found = [target for call in calls() if (target := make_target(call)) is not None]
    assert {name for name, _ in found} >= {"setup", "smoke", "test"}
    assert [name for name, _ in found if not re.search(rf"^{name}:", MAKEFILE, re.MULTILINE)] == []
    parsed(pytester, [word for _, words in found for word in words])
    assert [words for _, words in found if "--project-root" in words] == [], "pytest takes its value for a test's path"


def test_every_call_of_tinyworlds_gate_parses_with_its_own_parser() -> None:
    found = [words for call in calls() if (words := gate_words(call)) is not None]
    for words in found:
        args = _parser(words).parse_args(words)
        assert args.command in COMMANDS
    assert {words[0] for words in found} >= {"doctor", "data", "runs", "report"}


PYTEST_CALLS = [words for call in calls() if (words := pytest_words(call)) is not None]


@pytest.mark.parametrize("words", PYTEST_CALLS, ids=" ".join)
def test_every_call_of_pytest_has_options_that_it_takes(pytester: pytest.Pytester, words: list[str]) -> None:
    config = parsed(pytester, words)
    require_valid(explicit_options(config))
    asked = str(config.getoption("markexpr"))
    assert selects("longrun" if "longrun" in asked else "smoke", asked)


# What each is for.


@pytest.mark.parametrize("name", ["gate", "nightly"])
def test_the_history_is_whole_and_the_evidence_is_kept_after_a_failure_too(name: str) -> None:
    for job in workflow(name)["jobs"].values():
        [checkout] = [step for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@")]
        assert checkout["with"]["fetch-depth"] == 0
        [upload] = [step for step in job["steps"] if step.get("uses", "").startswith("actions/upload-artifact@")]
        assert upload["if"] == "always()"
        assert job["steps"][-1] is upload


def test_smoke_runs_on_a_hosted_runner_with_pips_cache_and_keeps_page_reports_and_journal() -> None:
    job = workflow("gate")["jobs"]["smoke"]
    assert job["runs-on"] == "ubuntu-latest"
    [python] = [step for step in job["steps"] if step.get("uses", "").startswith("actions/setup-python@")]
    assert python["with"]["cache"] == "pip"
    assert all((REPOSITORY / path).is_file() for path in python["with"]["cache-dependency-path"].split())
    kept = job["steps"][-1]["with"]["path"].split()
    assert {"docs/action/", "inference_results/", "results/*/journal.jsonl", "results/junit.xml"} <= {*kept}


def test_the_nightly_resumes_an_unfinished_run_unless_a_fresh_one_is_requested() -> None:
    loaded = workflow("nightly")
    triggers = loaded[True]  # YAML 1.1 reads the key `on` as a boolean
    assert triggers["schedule"]
    assert triggers["workflow_dispatch"]["inputs"]["fresh"]["default"] is False
    assert "two-gpus" in loaded["jobs"]["longrun"]["runs-on"]
    nights = [step for step in steps_of(loaded) if "-m pytest" in step.get("run", "")]
    runs = [(step["if"], pytest_words(calls_in(step["run"])[0])) for step in nights]
    junit = "--junit-xml=results/junit.xml"
    assert runs == [
        ("${{ !inputs.fresh }}", ["-m", "longrun", "--resume-run", "unfinished", junit]),
        ("${{ inputs.fresh }}", ["-m", "longrun", junit]),
    ]


def test_no_two_nights_run_at_once_and_the_workspace_stays() -> None:
    loaded = workflow("nightly")
    assert loaded["concurrency"] == {"group": "nightly", "cancel-in-progress": False}
    assert step_with("actions/checkout@", "nightly")["with"]["clean"] is False


def test_a_night_ends_itself_in_order_before_its_job_is_ended() -> None:
    minutes = workflow("nightly")["jobs"]["longrun"]["timeout-minutes"]
    assert minutes >= 23 * 60 + 20
    for step in [step for step in steps_of(workflow("nightly")) if "-m pytest" in step.get("run", "")]:
        words = calls_in(step["run"])[0]
        assert words[: len(words) - len(unwrap(words))][-1] == "23h"


UNFINISHED_RUN = "echo results/longrun_1 is unfinished"
NO_RUN = "echo There is no unfinished run in this project.; exit 1"


@pytest.mark.parametrize("step_id", ["resumed", "new"])
@pytest.mark.parametrize(
    ("session", "runs", "status", "unfinished"),
    [
        ("exit 0", NO_RUN, 0, False),
        ("exit 1", UNFINISHED_RUN, 1, False),
        ("exit 2", UNFINISHED_RUN, 2, False),
        ("exit 4", UNFINISHED_RUN, 4, False),
        ("trap 'exit 2' INT; sleep 30 >/dev/null 2>&1 & wait", UNFINISHED_RUN, 0, True),
        ("trap 'exit 2' INT; sleep 30 >/dev/null 2>&1 & wait", NO_RUN, 124, False),
        ("trap '' INT; while :; do sleep 0.1; done", UNFINISHED_RUN, 137, False),
    ],
    ids=["passed", "failed", "cancelled", "wrong-option", "time-is-over", "time-is-over-without-a-run", "hung"],
)
def test_a_night_whose_time_is_over_is_green_and_every_other_one_has_its_own_status(
    tmp_path: Path, step_id: str, session: str, runs: str, status: int, unfinished: bool
) -> None:
    """The two steps as GitHub runs them, one after the other, with a session and a list of runs of a line of shell."""
    stub(tmp_path / ".venv/bin/python", session)
    stub(tmp_path / ".venv/bin/tinyworlds-gate", runs)
    output, summary = tmp_path / "output", tmp_path / "summary.md"
    output.touch()
    summary.touch()
    [night] = [step for step in steps_of(workflow("nightly")) if step.get("id") == step_id]
    [result] = [step for step in steps_of(workflow("nightly")) if "STATUS" in step.get("env", {})]
    assert f"steps.{step_id}.outputs.status" in result["env"]["STATUS"]
    short = {**night, "run": night["run"].replace(" 23h", " 0.3s").replace("--kill-after=20m", "--kill-after=0.5s")}
    run_step(tmp_path, short, GITHUB_OUTPUT=str(output))
    code = output.read_text().strip().removeprefix("status=") or "0"
    done = step_process(tmp_path, result, STATUS=code, GITHUB_STEP_SUMMARY=str(summary))
    assert done.returncode == status
    assert ("::notice title=Unfinished::" in done.stdout) is unfinished
    assert ("the next night resumes the run" in summary.read_text()) is unfinished


def test_the_nightly_gathers_what_the_night_wrote_and_nothing_else(tmp_path: Path) -> None:
    def write(name: str, when: float) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        os.utime(path, (when, when))

    run_step(tmp_path, step_with("touch", "nightly"))
    os.utime(tmp_path / "results/.night", (1000.0, 1000.0))
    new = ["docs/action/plots/x/loss.png", "docs/action/validation-b.html", "results/b/journal.jsonl", "Logs/b c.csv"]
    for name in [*new, "results/b/dynamics/checkpoints/dynamics_step_9/model_state_dict.pt"]:
        write(name, 2000.0)
    write("docs/action/validation-a.html", 500.0)
    run_step(tmp_path, step_with("find docs/action", "nightly"))
    kept = tmp_path / "build" / "evidence"
    assert sorted(str(path.relative_to(kept)) for path in kept.rglob("*") if path.is_file()) == sorted(new)


def test_the_nightly_lists_the_runs_in_the_summary_also_when_there_is_none(tmp_path: Path) -> None:
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    command = tmp_path / ".venv/bin/tinyworlds-gate"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tinyworlds_gate "$@"\n')
    command.chmod(0o755)
    summary = tmp_path / "summary.md"
    run_step(tmp_path, step_with("tinyworlds-gate runs || true", "nightly"), GITHUB_STEP_SUMMARY=str(summary))
    assert summary.read_text() == "### Runs of this workspace\n```text\nThere is no run in this project.\n```\n"


def test_a_repository_whose_pytest_settings_get_in_the_way_is_validated_without_them(tmp_path: Path) -> None:
    """The options that docs/ci.md names for it."""
    (tmp_path / "pyproject.toml").write_text('[tool.pytest.ini_options]\naddopts = "--no-such-option"\n')
    (tmp_path / "conftest.py").write_text("raise RuntimeError('the conftest of the validated repository')\n")
    [call] = [
        words
        for step in steps_of(init_workflow())
        if "pytest" in step.get("run", "")
        for words in calls_in(step["run"])
    ]
    words = [word for word in call[1:] if not word.startswith("--junit-xml")]
    [options] = re.findall(r"`(-c /dev/null [^`]+)`", CI_PAGE)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, *options.split(), "--collect-only", "-q"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_the_rollout_passes_the_inference_gate" in done.stdout


def test_the_tests_run_on_every_python_that_the_metadata_names() -> None:
    classifiers = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]["classifiers"]
    named = [found[1] for one in classifiers if (found := re.fullmatch(r".* :: Python :: (3\.\d+)", one))]
    assert workflow("gate")["jobs"]["tests"]["strategy"]["matrix"]["python"] == named


def test_a_release_publishes_the_wheel_that_was_tried_with_attestations_and_without_a_secret() -> None:
    jobs = workflow("release")["jobs"]
    tried = [step["run"] for step in jobs["build"]["steps"] if ".ci/try-wheel" in step.get("run", "")]
    assert tried == [".ci/try-wheel dist/*.whl"]
    assert jobs["publish"]["needs"] == "build"
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert jobs["publish"]["steps"][-1]["with"] == {"attestations": True}
    assert "secrets." not in (FOLDER / "release.yml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("tag", "repository", "status"),
    [
        (f"v{__version__}", "OWNER/tinyworlds_gate", 0),
        ("v99.0.0", "OWNER/tinyworlds_gate", 1),
        (f"v{__version__}", "somebody/else", 1),
    ],
)
def test_a_release_needs_the_tag_of_its_version_and_its_own_address(tag: str, repository: str, status: int) -> None:
    step = step_with("GITHUB_REF_NAME", "release")
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", step["run"].replace("python -c", f"{sys.executable} -c")],
        cwd=REPOSITORY,
        env={**os.environ, "GITHUB_REF_NAME": tag, "GITHUB_REPOSITORY": repository},
        capture_output=True,
        check=False,
    )
    assert done.returncode == status


def run_step(folder: Path, step: dict[str, Any], **variables: str) -> None:
    """Run a step's script, which succeeds."""
    done = step_process(folder, step, **variables)
    assert done.returncode == 0, done.stderr


def step_process(folder: Path, step: dict[str, Any], **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a step's script as GitHub does: `bash -e`, in the workspace."""
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        cwd=folder,
        env={**os.environ, **variables},
        text=True,
        capture_output=True,
        check=False,
        timeout=60,
    )


def stub(path: Path, script: str) -> None:
    """Write a command that runs a line of shell."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/bash\n{script}\n")
    path.chmod(0o755)
