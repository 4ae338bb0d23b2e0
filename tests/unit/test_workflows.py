"""The workflows that users run and copy: they load, their commands exist, evidence is kept after a failure too.

pytest tests/unit/test_workflows.py
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers.ci_commands import calls_in, gate_words, make_target, pytest_words, steps_of, unwrapped
from tests.helpers.commands import REPOSITORY
from tests.helpers.options_parsing import parsed
from tests.helpers.tiny_project import environment
from tinyworlds_gate.cli.main import COMMANDS, _parser
from tinyworlds_gate.plugin.options import asks_for, explicit_options, require_valid

pytest_plugins = ["pytester"]

FOLDER = REPOSITORY / ".github" / "workflows"
MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
PINNED = re.compile(r"[\w.-]+/[\w./-]+@(v\d+|[0-9a-f]{40})")


def workflow(name: str) -> dict[Any, Any]:
    loaded = yaml.safe_load((FOLDER / f"{name}.yml").read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


def documented() -> list[dict[Any, Any]]:
    """The jobs that docs/ci.md shows, each as a workflow."""
    text = (REPOSITORY / "docs" / "ci.md").read_text(encoding="utf-8")
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    return [block if "jobs" in block else {"jobs": block} for block in blocks]


def documented_shell() -> list[str]:
    """The scripts and the commands in the text of docs/ci.md."""
    text = (REPOSITORY / "docs" / "ci.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    return blocks + re.findall(r"(?<!`)`((?:tinyworlds-gate|pytest) [^`]+)`", text)


def scripts() -> list[str]:
    """Every script of the workflows and of docs/ci.md."""
    named = [workflow("gate"), workflow("nightly"), *documented()]
    return [step["run"] for one in named for step in steps_of(one) if "run" in step] + documented_shell()


def calls() -> list[list[str]]:
    return [call for script in scripts() for call in calls_in(script)]


def step_with(words: str, name: str) -> dict[str, Any]:
    """The only step of a workflow that calls or uses something."""
    [step] = [step for step in steps_of(workflow(name)) if words in step.get("run", step.get("uses", ""))]
    return step


# Every file and every command.


@pytest.mark.parametrize("name", ["gate", "nightly"])
def test_a_workflow_may_only_read_and_every_job_ends_by_itself(name: str) -> None:
    loaded = workflow(name)
    assert loaded["permissions"] == {"contents": "read"}
    assert all(0 < job["timeout-minutes"] <= 1440 for job in loaded["jobs"].values())
    assert all(("run" in step) != ("uses" in step) for step in steps_of(loaded))


def test_every_action_is_pinned_to_a_major_version_or_a_commit() -> None:
    used = [step["uses"] for name in ("gate", "nightly") for step in steps_of(workflow(name)) if "uses" in step]
    used += [step["uses"] for one in documented() for step in steps_of(one) if "uses" in step]
    assert len(used) >= 8
    assert [action for action in used if not PINNED.fullmatch(action)] == []


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
    assert asks_for("longrun" if "longrun" in asked else "smoke", asked)


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


def test_the_nightly_goes_on_with_an_unfinished_run_unless_a_fresh_one_was_asked_for() -> None:
    loaded = workflow("nightly")
    triggers = loaded[True]  # YAML 1.1 reads the key `on` as a boolean
    assert triggers["schedule"]
    assert triggers["workflow_dispatch"]["inputs"]["fresh"]["default"] is False
    assert "two-gpus" in loaded["jobs"]["longrun"]["runs-on"]
    runs = [(step["if"], pytest_words(calls_in(step["run"])[0])) for step in steps_of(loaded) if "pytest" in str(step)]
    junit = "--junit-xml=results/junit.xml"
    assert runs == [
        ("${{ !inputs.fresh }}", ["-m", "longrun", "--resume-run", "unfinished", junit]),
        ("${{ inputs.fresh }}", ["-m", "longrun", junit]),
    ]


def test_no_two_nights_run_at_once_and_the_workspace_stays() -> None:
    loaded = workflow("nightly")
    assert loaded["concurrency"] == {"group": "nightly", "cancel-in-progress": False}
    assert step_with("actions/checkout@", "nightly")["with"]["clean"] is False


def test_a_night_ends_itself_in_order_before_its_job_is_ended(tmp_path: Path) -> None:
    step = step_with("--resume-run unfinished", "nightly")
    words = calls_in(step["run"])[0]
    minutes = workflow("nightly")["jobs"]["longrun"]["timeout-minutes"]
    assert minutes >= 23 * 60 + 20
    before = words[: len(words) - len(unwrapped(words))]
    assert before[-1] == "23h"
    program = "import time, sys\ntry: time.sleep(30)\nexcept KeyboardInterrupt: sys.exit(2)"
    began = time.monotonic()
    done = subprocess.run([*before[:-1], "0.5s", "python3", "-c", program], check=False, timeout=30)
    assert (done.returncode, time.monotonic() - began < 20) == (2, True)


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
    run_step(tmp_path, step_with("tinyworlds-gate runs", "nightly"), GITHUB_STEP_SUMMARY=str(summary))
    assert summary.read_text() == "### Runs of this workspace\n```text\nThere is no run in this project.\n```\n"


def test_a_repository_with_a_pytest_of_its_own_is_validated_by_the_harness_beside_it(tmp_path: Path) -> None:
    """As docs/ci.md says it: the harness lies in a folder of the repository that it validates."""
    (tmp_path / "pyproject.toml").write_text('[tool.pytest.ini_options]\naddopts = "--no-such-option"\n')
    (tmp_path / "conftest.py").write_text("raise RuntimeError('the conftest of the validated repository')\n")
    harness = tmp_path / "harness"
    shutil.copytree(REPOSITORY / "validation", harness / "validation")
    for name in ("conftest.py", "pytest.ini"):
        shutil.copy(REPOSITORY / name, harness)
    step = next(step for one in documented() for step in steps_of(one) if "make smoke" in step.get("run", ""))
    target = make_target(calls_in(step["run"])[0])
    assert target is not None
    assert step["working-directory"] == "harness"
    words = [word for word in target[1] if not word.startswith("--junit-xml")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "validation/", "-m", "smoke", *words, "--collect-only", "-q"],
        cwd=harness,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_the_rollout_passes_the_inference_gate" in done.stdout


def run_step(folder: Path, step: dict[str, Any], **variables: str) -> None:
    """Run a step's script as GitHub does: `bash -e`, in the workspace."""
    subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        cwd=folder,
        env={**os.environ, **variables},
        check=True,
        timeout=60,
    )
