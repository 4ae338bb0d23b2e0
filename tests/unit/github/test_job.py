"""Which jobs the gate refuses, and what an event may say.

pytest tests/unit/github/test_job.py
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.commands import REPOSITORY
from tests.helpers.github_server import GitHub, job_variables, pull_request_event, workflow_run_event
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.github.job import read_job, refusal

HERE, FORK = "owner/game", "stranger/game"


def refused(folder: Path, event: dict[str, Any], name: str, *, runner: str = "github-hosted", ok: bool = False) -> bool:
    variables = {**job_variables(folder, GitHub(HERE), event, name), "RUNNER_ENVIRONMENT": runner}
    return refusal(read_job(variables), self_hosted_allowed=ok) is not None


@pytest.mark.parametrize(
    ("event", "name", "runner", "ok", "no"),
    [
        (pull_request_event(HERE), "pull_request", "github-hosted", False, False),
        (pull_request_event(HERE), "pull_request", "self-hosted", False, False),
        (pull_request_event(HERE, head=FORK), "pull_request", "github-hosted", False, False),
        (pull_request_event(HERE, head=FORK), "pull_request", "self-hosted", False, True),
        (pull_request_event(HERE, head=FORK), "pull_request", "", False, True),
        (pull_request_event(HERE, head=FORK), "pull_request", "self-hosted", True, False),
        (pull_request_event(HERE), "pull_request_target", "github-hosted", True, True),
        (pull_request_event(HERE, head=FORK), "pull_request_target", "github-hosted", True, True),
        (workflow_run_event(HERE, FORK), "workflow_run", "github-hosted", True, True),
        (workflow_run_event(HERE, HERE), "workflow_run", "github-hosted", False, False),
        ({}, "push", "self-hosted", False, False),
    ],
)
def test_code_of_a_fork_gets_no_token_and_no_machine_of_ours(
    tmp_path: Path, event: dict[str, Any], name: str, runner: str, ok: bool, no: bool
) -> None:
    assert refused(tmp_path, event, name, runner=runner, ok=ok) is no


def test_a_deleted_fork_and_a_name_in_other_letters(tmp_path: Path) -> None:
    event = pull_request_event(HERE)
    event["pull_request"]["head"]["repo"] = None
    assert read_job(job_variables(tmp_path, GitHub(HERE), event)).from_fork
    assert not read_job(job_variables(tmp_path, GitHub(HERE), pull_request_event(HERE, head="Owner/Game"))).from_fork


def test_a_repository_whose_visibility_is_unknown_counts_as_private(tmp_path: Path) -> None:
    event = pull_request_event(HERE)
    assert not read_job(job_variables(tmp_path, GitHub(HERE), event)).private
    del event["repository"]["private"]
    assert read_job(job_variables(tmp_path, GitHub(HERE), event)).private


@pytest.mark.parametrize("number", ["7; rm -rf .", -1, True, 0, None])
def test_a_pull_request_has_a_whole_number(tmp_path: Path, number: Any) -> None:
    event = pull_request_event(HERE)
    event["pull_request"]["number"] = number
    with pytest.raises(GateError, match="whole numbers from 1"):
        read_job(job_variables(tmp_path, GitHub(HERE), event))


def test_hostile_names_of_a_fork_become_nothing(tmp_path: Path) -> None:
    event = pull_request_event(HERE, head="a b/$(touch x)")
    event["pull_request"]["head"]["sha"] = "not a sha\nx=1"
    pull = read_job(job_variables(tmp_path, GitHub(HERE), event)).pull
    assert pull is not None
    assert (pull.head_repository, pull.head_sha) == ("", "")


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"pull_request": 3}'])
def test_a_broken_event_is_one_sentence_or_no_pull_request(tmp_path: Path, content: str) -> None:
    variables = job_variables(tmp_path, GitHub(HERE), {})
    Path(variables["GITHUB_EVENT_PATH"]).write_text(content)
    if content in ("", "{"):
        with pytest.raises(GateError, match="cannot be read"):
            read_job(variables)
    else:
        assert read_job(variables).pull is None


def test_outside_of_a_job_it_says_what_to_do_instead() -> None:
    with pytest.raises(GateError, match="--comment"):
        read_job({})


@pytest.mark.parametrize("step", ["guard", "keys"])
def test_the_steps_before_the_install_need_nothing_but_python(tmp_path: Path, step: str) -> None:
    variables = job_variables(tmp_path, GitHub(HERE), pull_request_event(HERE))
    variables |= {"GITHUB_ACTION_PATH": str(REPOSITORY), "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-S", "-P", "-m", "tinyworlds_gate.github", step]
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    keys = dict(line.split("=") for line in (tmp_path / "output").read_text().splitlines())
    assert set(keys) == ({"packages", "data"} if step == "keys" else set())


def test_a_refused_job_ends_with_an_error_line(tmp_path: Path) -> None:
    variables = job_variables(tmp_path, GitHub(HERE), pull_request_event(HERE), "pull_request_target")
    command = [sys.executable, "-m", "tinyworlds_gate.github", "guard"]
    done = subprocess.run(command, cwd=REPOSITORY, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout.startswith("::error title=tinyworlds_gate guard::The event pull_request_target")
    assert done.stdout.count("\n") == 1


def test_the_keys_of_the_caches_change_with_what_they_hold(tmp_path: Path) -> None:
    from tinyworlds_gate.github.cache_keys import cache_keys

    file = tmp_path / "constraints.txt"
    file.write_text("torch==1\n")
    first = cache_keys("-m smoke", [file], "")
    assert cache_keys("-m smoke", [file], "") == first
    assert cache_keys("-m smoke --dataset PONG", [file], "")["data"] != first["data"]
    assert cache_keys("-m smoke", [file], "index")["packages"] != first["packages"]
    file.write_text("torch==2\n")
    assert cache_keys("-m smoke", [file], "")["packages"] != first["packages"]
    assert json.dumps(first).isascii()
