"""The composite action, step by step as a runner runs it: its wheel in a new environment, a stand-in for GitHub on
this machine, and a finished run in place of the training.

pytest tests/loop/test_action_steps.py -m slow
"""

from __future__ import annotations

import re
import shutil
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers.commands import REPOSITORY
from tests.helpers.composite_action import ActionRun, Step
from tests.helpers.finished_runs import PAGE, finished_run
from tests.helpers.github_server import GitHub, job_variables, pull_request_event, serving
from tests.helpers.tiny_project import make_project
from tests.unit.test_wheel import tracked

pytestmark = pytest.mark.slow

PYTEST = '#!/bin/bash\necho "::error::from the code under test"\n{}\nexit "$GATE_STATUS"\n'
ARTIFACT = "https://github.example.com/owner/game/actions/runs/1/artifacts"
PICTURE = re.compile(r"!\[[^\]]*\]\(([^)]+)\)")


class Place:
    """What the steps find on their machine: the action's files, an environment, a workspace, the stand-in."""

    def __init__(self, folder: Path, github: GitHub) -> None:
        self.folder, self.github = folder, github
        self.action_path, self.temp, self.workspace = folder / "action", folder / "temp", folder / "workspace"
        for path in (self.action_path, self.temp, self.workspace):
            path.mkdir()
        self.action: dict[str, Any] = yaml.safe_load((REPOSITORY / "action.yml").read_text(encoding="utf-8"))
        self.used: list[tuple[str, dict[str, str]]] = []
        self.sample = folder / "sample"
        finished_run(self.sample, "smoke_sample", profile="smoke", kind="smoke")
        (self.sample / "conftest.py").unlink(missing_ok=True)
        for path in self.sample.glob("results/*/journal.jsonl"):
            path.touch()

    def run(self, event: Mapping[str, Any], *, name: str = "pull_request", status: int = 0, **inputs: str) -> ActionRun:
        """Run all steps in an empty workspace; the finished run appears where the gate would make it."""
        shutil.rmtree(self.workspace)
        self.workspace.mkdir()
        return self.run_there(event, name=name, status=status, **inputs)

    def run_there(self, event: Mapping[str, Any], *, name: str, status: int, **inputs: str) -> ActionRun:
        """Run all steps in the workspace as it is."""
        folder = self.folder / f"job_{len(list(self.folder.glob('job_*')))}"
        variables = job_variables(folder, self.github, dict(event), name)
        del variables["TINYWORLDS_GATE_TOKEN"]
        variables["GITHUB_RUN_NUMBER"] = str(10 + len(list(self.folder.glob("job_*"))))
        github = {"action_path": str(self.action_path), "token": "token-of-the-job", "job": "gate"}
        run = ActionRun(
            *(self.action, folder, self.workspace, self.temp),
            {**variables, "GATE_STATUS": str(status), "SAMPLE": str(self.sample)},
            *(github, self._answer),
            inputs={name.replace("_", "-"): value for name, value in inputs.items()},
            skipped=frozenset({"install"} if (self.temp / "tinyworlds-gate").exists() else ()),
        )
        if not run.skipped:
            run = replace(run, variables={**run.variables, **self._offline()}, answer=self._answer)
        return run.run()

    def _answer(self, step: Step, given: Mapping[str, str]) -> dict[str, str]:
        """What the other actions do, as far as this one sees it."""
        name = str(step["uses"]).partition("@")[0]
        self.used.append((name, dict(given)))
        if name == "actions/setup-python":
            return {"python-path": sys.executable}
        return {"artifact-url": f"{ARTIFACT}/{len(self.used)}"} if name == "actions/upload-artifact" else {}

    @staticmethod
    def _offline() -> dict[str, str]:
        """pip builds the real wheel; the dependencies are those of this environment."""
        packages = sysconfig.get_path("purelib")
        return {"PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_INDEX": "1", "PYTHONPATH": packages}

    def with_environment(self) -> Place:
        """Run the step that installs the action, then make this environment's packages visible in it."""
        for file in tracked():
            if not file.startswith(("tests/", "docs/")):
                (self.action_path / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(REPOSITORY / file, self.action_path / file)
        steps = [step for step in self.action["runs"]["steps"] if step.get("id") in ("python", "install")]
        only = {**self.action, "runs": {"using": "composite", "steps": steps}}
        job = self.folder / "install"
        job.mkdir()
        github = {"action_path": str(self.action_path), "token": "", "job": "gate"}
        done = ActionRun(only, job, self.workspace, self.temp, self._offline(), github, self._answer).run()
        assert not done.failed, done.log
        [packages] = (self.temp / "tinyworlds-gate" / "lib").glob("python*/site-packages")
        (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
        self.pytest('cp -r "$SAMPLE"/. .; touch results/*/journal.jsonl')
        self.used.clear()
        return self

    def pytest(self, script: str) -> None:
        """Put a script in the place of pytest."""
        command = self.temp / "tinyworlds-gate" / "bin" / "pytest"
        command.write_text(PYTEST.format(script))
        command.chmod(0o755)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with serving(GitHub()) as github:
        yield Place(tmp_path_factory.mktemp("action"), github).with_environment()


@pytest.fixture
def place(installed: Place) -> Place:
    """The installed action, with a stand-in that remembers nothing."""
    there = installed.github
    there.comments.clear()
    there.requests.clear()
    there.refs.clear()
    there.may = {"comment", "contents"}
    installed.used.clear()
    installed.pytest('cp -r "$SAMPLE"/. .; touch results/*/journal.jsonl')
    return installed


def test_a_pull_request_gets_one_comment_that_the_next_run_updates(place: Place) -> None:
    event = pull_request_event("owner/game")
    first = place.run(event, pictures_branch="pictures")
    assert (first.failed, first.log[-1][0]) == (False, "The result of the gate is that of the job")
    [comment] = place.github.comments.values()
    assert comment["body"].startswith("## ")
    assert f"]({ARTIFACT}/" in comment["body"]
    [picture] = PICTURE.findall(comment["body"])
    assert (place.github.raw(picture.removeprefix(place.github.url)) or b"").startswith(b"\x89PNG")
    outputs = first.outputs()
    assert outputs["run"] == "results/smoke_sample"
    assert outputs["comment-url"] == comment["html_url"]
    assert outputs["verdict"] in comment["body"]
    uploads = [given for name, given in place.used if name == "actions/upload-artifact"]
    assert uploads[0]["path"] == PAGE
    assert uploads[0]["archive"] == "False"
    assert uploads[1]["name"] == "tinyworlds-gate-gate"
    caches = [given for name, given in place.used if name == "actions/cache"]
    assert [re.sub(r"[0-9a-f]{20}$", "KEY", one["key"]) for one in caches] == [
        "tinyworlds-gate-pip-Linux-X64-KEY",
        "tinyworlds-gate-data-KEY",
    ]
    second = place.run(event)
    assert not second.failed
    assert [one["html_url"] for one in place.github.comments.values()] == [comment["html_url"]]
    assert "run=12.1" in place.github.comments[1]["body"] or "run=1" in place.github.comments[1]["body"]


def test_a_gate_that_fails_fails_the_job_after_the_comment(place: Place) -> None:
    done = place.run(pull_request_event("owner/game"), status=1)
    assert (done.failed, done.status) == (True, 1)
    assert len(place.github.comments) == 1


def test_the_code_under_test_cannot_print_commands(place: Place) -> None:
    lines = place.run(pull_request_event("owner/game")).output_of("The gate").splitlines()
    at = lines.index("::error::from the code under test")
    [stop] = [number for number, line in enumerate(lines) if line.startswith("::stop-commands::")]
    assert stop < at < lines.index(f"::{lines[stop].rpartition('::')[2]}::")


def test_a_fork_gets_the_summary_and_no_request_is_made(place: Place) -> None:
    done = place.run(pull_request_event("owner/game", head="stranger/game"), pictures_branch="pictures")
    assert not done.failed
    assert place.github.requests == []
    assert (done.folder / "summary").read_text().startswith("## ")
    assert "may only read" in done.output_of("The comment")


def test_a_dangerous_event_stops_before_the_code_is_there(place: Place) -> None:
    event = pull_request_event("owner/game", head="stranger/game")
    done = place.run(event, name="pull_request_target")
    assert (done.failed, done.status) == (True, 2)
    assert [name for name, _ in done.log] == ["Python", "Refuse jobs in which the code under test could do harm"]


def test_a_session_without_a_run_is_explained(place: Place) -> None:
    place.pytest("echo 'ERROR: a wrong option'")
    done = place.run(pull_request_event("owner/game"), status=4)
    assert (done.failed, done.status) == (True, 4)
    assert "no run was started" in place.github.comments[1]["body"]
    assert "exit status 4" in done.output_of("Errors beside the change")


def test_a_module_of_the_checkout_is_not_imported_beside_the_token(place: Place) -> None:
    trap = "import os; print('TRAP', os.environ.get('TINYWORLDS_GATE_TOKEN'))"
    names = ["json", "yaml", "tinyworlds_gate", "argparse", "sitecustomize"]
    copy = "; ".join(f'printf "%s\\n" "{trap}" > {name}.py' for name in names)
    place.pytest(f'cp -r "$SAMPLE"/. .; touch results/*/journal.jsonl; {copy}')
    done = place.run(pull_request_event("owner/game"))
    assert not done.failed
    assert (place.workspace / "json.py").is_file()
    assert [name for name, text in done.log if "TRAP" in text] == []


def test_a_real_gate_from_the_installed_wheel(place: Place) -> None:
    """A tiny project is trained and judged by the environment that the action has installed."""
    shutil.rmtree(place.workspace)
    make_project(place.workspace)
    command = place.temp / "tinyworlds-gate" / "bin" / "pytest"
    command.write_text(f"#!{command.parent / 'python'}\nimport pytest\nraise SystemExit(pytest.console_main())\n")
    done = place.run_there(pull_request_event("owner/game"), name="pull_request", status=0, pictures_branch="pictures")
    gate = done.output_of("The gate")
    assert not done.failed, gate
    [comment] = place.github.comments.values()
    assert comment["body"].splitlines()[0] == "## ✅ Merge: PASS"
    assert "| **this run** | " in comment["body"]
    assert len(PICTURE.findall(comment["body"])) == 1
    assert done.outputs()["verdict"] == "PASS"
    assert done.output_of("Errors beside the change") == ""
