"""What a job posts: the comment with pictures that can be loaded, or the summary where nobody may comment.

pytest tests/unit/github/test_publish.py
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.finished_runs import add_picture
from tests.helpers.github_server import GitHub, job_variables, pull_request_event, serving, workflow_run_event
from tests.helpers.journal_samples import SampleRun
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.github import api as api_module
from tinyworlds_gate.github.__main__ import main
from tinyworlds_gate.github.picture_branch import MARKER_FILE
from tinyworlds_gate.github.publish import publish

FORK = "stranger/game"
PICTURE = re.compile(r"!\[[^\]]*\]\(([^)]+)\)")


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHub]:
    monkeypatch.setattr(api_module, "PAUSE_S", 0.0)
    with serving(GitHub()) as there:
        yield there


def project(folder: Path) -> SampleRun:
    """A run that passed, with a film strip; its verdict is INVALID, because it has no reports."""
    return add_picture(SampleRun(folder).prepare().train().infer(1, 0.0187)).finish("passed", "PASS: It passed.")


def job(folder: Path, github: GitHub, *, head: str | None = None, **inputs: str) -> dict[str, str]:
    """The variables of a job on a pull request that has a finished run."""
    run = project(folder / "project")
    variables = job_variables(folder / "job", github, pull_request_event(github.repository, head=head))
    named = {"RUN": str(run.folder), **inputs}
    return variables | {f"TINYWORLDS_GATE_{name}": value for name, value in named.items()}


def summary_of(variables: dict[str, str]) -> str:
    return Path(variables["GITHUB_STEP_SUMMARY"]).read_text()


def test_the_comment_has_the_commit_of_the_change_and_the_links(tmp_path: Path, github: GitHub) -> None:
    urls = {"PAGE_URL": "https://github.com/o/r/actions/runs/1/artifacts/2", "KEY": "smoke"}
    done = publish(job(tmp_path, github, **urls))
    [comment] = github.comments.values()
    assert done["comment-url"] == comment["html_url"]
    assert comment["body"].splitlines()[0].startswith("## ❌ Do not merge: INVALID")
    assert "`555555555555`" in comment["body"]
    assert f"]({urls['PAGE_URL']})" in comment["body"]
    assert comment["body"].endswith("<!-- tinyworlds-gate:comment key=smoke run=12.1 -->\n")


def test_pictures_are_pushed_to_a_branch_of_their_own_and_can_be_loaded(tmp_path: Path, github: GitHub) -> None:
    variables = job(tmp_path, github, PICTURES_BRANCH="pictures")
    publish(variables)
    [url] = PICTURE.findall(github.comments[1]["body"])
    assert (
        github.raw(url.removeprefix(github.url))
        == next((tmp_path / "project/inference_results").glob("film_strip_*.png")).read_bytes()
    )
    first = github.refs["heads/pictures"]
    assert github.commits[first]["parents"] == []
    publish({**variables, "GITHUB_RUN_NUMBER": "13"})
    [newer] = PICTURE.findall(github.comments[1]["body"])
    assert newer != url
    assert github.raw(url.removeprefix(github.url)) is not None, "an earlier comment still shows its picture"
    assert github.commits[github.refs["heads/pictures"]]["parents"] == [first]


def test_a_branch_of_somebody_is_never_written_to(tmp_path: Path, github: GitHub) -> None:
    github.trees["t"], github.commits["c"] = {"README.md": "b"}, {"tree": "t", "parents": []}
    github.refs["heads/main"] = "c"
    with pytest.raises(GateError, match=f"no file {MARKER_FILE}"):
        publish(job(tmp_path, github, PICTURES_BRANCH="main"))
    assert github.refs == {"heads/main": "c"}


@pytest.mark.parametrize("branch", ["../main", "a b", "-f", "x/", "pictures~1", "a//b"])
def test_a_strange_name_of_a_branch_is_refused(tmp_path: Path, github: GitHub, branch: str) -> None:
    with pytest.raises(GateError, match="pictures-branch"):
        publish(job(tmp_path, github, PICTURES_BRANCH=branch))


@pytest.mark.parametrize("why", ["no contents", "not loadable", "private", "no branch"])
def test_without_an_address_there_is_a_sentence_and_no_broken_picture(
    tmp_path: Path, github: GitHub, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    variables = job(tmp_path, github, **({} if why == "no branch" else {"PICTURES_BRANCH": "pictures"}))
    if why == "no contents":
        github.may.remove("contents")
    if why == "private":
        event = pull_request_event(github.repository)
        event["repository"]["private"] = True
        variables |= {"GITHUB_EVENT_PATH": job_variables(tmp_path / "p", github, event)["GITHUB_EVENT_PATH"]}
    github.serves_raw = why != "not loadable"
    publish(variables)
    body = github.comments[1]["body"]
    assert PICTURE.findall(body) == []
    assert "Film strip of this run: `inference_results/film_strip_01_1_smoke_sample.png` in the evidence (" in body
    reasons = {
        "no contents": "`contents: write`",
        "not loadable": "could not be loaded",
        "private": "private repository",
        "no branch": "`pictures-branch`",
    }
    assert reasons[why].strip("`") in body.replace("\\", "")


def test_a_pull_request_from_a_fork_gets_the_summary_and_no_request(tmp_path: Path, github: GitHub) -> None:
    variables = job(tmp_path, github, head=FORK, PICTURES_BRANCH="pictures")
    assert publish(variables)["comment-url"] == ""
    assert summary_of(variables).startswith("## ❌ Do not merge")
    assert github.requests == []


def test_a_token_that_may_not_comment_gets_the_summary(
    tmp_path: Path, github: GitHub, capsys: pytest.CaptureFixture[str]
) -> None:
    github.may.clear()
    variables = job(tmp_path, github)
    assert publish(variables)["comment-url"] == ""
    assert "Do not merge" in summary_of(variables)
    assert "no `pull-requests: write`" in capsys.readouterr().out


@pytest.mark.parametrize("event", ["push", "schedule"])
def test_other_events_get_the_summary(tmp_path: Path, github: GitHub, event: str) -> None:
    variables = job(tmp_path, github) | job_variables(tmp_path / "other", github, {}, event)
    publish(variables)
    assert "Do not merge" in summary_of(variables)
    assert github.requests == []


def test_a_job_without_a_run_says_why(tmp_path: Path, github: GitHub) -> None:
    publish(job(tmp_path, github, RUN="", REASON="pytest ended with exit status 4: see @log #1"))
    body = github.comments[1]["body"]
    assert body.startswith("## ❌ Do not merge: INVALID, no run was started\n\npytest ended with exit status 4")
    assert "@log" not in body
    assert "#1" not in body


def test_the_run_of_a_fork_is_data_that_nobody_vouches_for(tmp_path: Path, github: GitHub) -> None:
    run = project(tmp_path / "artifact")
    head = {"owner": "stranger", "ref": "change", "sha": "5" * 40, "repo": {"full_name": FORK}}
    github.pulls = [{"number": 9, "head": head}]
    variables = job_variables(tmp_path / "job", github, workflow_run_event(github.repository, FORK), "workflow_run")
    inputs = {"RUN": str(run.folder), "PICTURES_BRANCH": "pictures"}
    publish(variables | {f"TINYWORLDS_GATE_{name}": value for name, value in inputs.items()})
    [comment] = github.comments.values()
    assert comment["number"] == 9
    assert "**The job of the pull request made this run, with its own code" in comment["body"]
    assert "## ✅" not in comment["body"]
    assert PICTURE.findall(comment["body"]) == []
    assert [one for one in github.requests if "git/" in one] == []


def test_the_steps_of_the_action_call_it(tmp_path: Path, github: GitHub, capsys: pytest.CaptureFixture[str]) -> None:
    variables = job(tmp_path, github)
    assert main(["comment"], variables) == 0
    outputs = dict(line.split("=", 1) for line in Path(variables["GITHUB_OUTPUT"]).read_text().splitlines())
    assert outputs == {"comment-url": github.comments[1]["html_url"], "verdict": "INVALID"}
    assert main(["annotate"], variables) == 0
    assert capsys.readouterr().out.startswith("::error title=tinyworlds_gate")
    assert main(["comment"], {**variables, "TINYWORLDS_GATE_RUN": str(tmp_path)}) == 2
    assert "is not a run's folder" in capsys.readouterr().out
