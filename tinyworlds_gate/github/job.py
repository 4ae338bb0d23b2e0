"""A job on GitHub as its variables and its event describe it (pure but for reading the event's file).

What an event says of a fork, its names above all, is chosen by strangers: it is used as data only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyworlds_gate.errors import GateError
from tinyworlds_gate.run.plain_json import parse_json

MOST_EVENT_BYTES = 32 * 1024**2
REPOSITORY = re.compile(r"[A-Za-z0-9_.-]{1,100}/[A-Za-z0-9_.-]{1,100}")
SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
HOSTED = "github-hosted"


@dataclass(frozen=True)
class PullRequest:
    """The pull request that a job is about. ``number`` is None in a `workflow_run`, which has to look it up."""

    number: int | None
    head_sha: str
    head_repository: str
    """Empty where it was deleted, which counts as a fork."""
    head_branch: str = ""


@dataclass(frozen=True)
class Job:
    """The event, the repository and the runner of a job."""

    event: str
    repository: str
    private: bool
    pull: PullRequest | None
    runner: str
    order: tuple[int, int]
    """Number and attempt of the workflow's run."""

    @property
    def from_fork(self) -> bool:
        """Whether the code under test is of another repository."""
        return self.pull is not None and self.pull.head_repository.lower() != self.repository.lower()


def read_job(variables: Mapping[str, str]) -> Job:
    """Return the job.

    Raises:
        GateError: a variable is missing, or the event cannot be read.
    """
    repository = variables.get("GITHUB_REPOSITORY", "")
    if not REPOSITORY.fullmatch(repository):
        raise GateError(
            f"GITHUB_REPOSITORY is {repository!r}, and a job on GitHub has OWNER/NAME there. Run this in a workflow. "
            "Elsewhere, `tinyworlds-gate report results/RUN --comment` writes the comment."
        )
    path = Path(variables.get("GITHUB_EVENT_PATH", ""))
    try:
        with path.open("rb") as file:
            event = parse_json(file.read(MOST_EVENT_BYTES))
    except (OSError, ValueError) as error:
        raise GateError(f"The event of the job ($GITHUB_EVENT_PATH) cannot be read: {error}.") from error
    event = event if isinstance(event, dict) else {}
    return Job(
        event=variables.get("GITHUB_EVENT_NAME", ""),
        repository=repository,
        private=_of(event, "repository").get("private") is not False,
        pull=_pull(event),
        runner=variables.get("RUNNER_ENVIRONMENT", ""),
        order=(_number(variables.get("GITHUB_RUN_NUMBER")), _number(variables.get("GITHUB_RUN_ATTEMPT"))),
    )


def refusal(job: Job, *, self_hosted_allowed: bool = False) -> str | None:
    """Return why the gate must not run in this job, as a sentence; None: it may (pure)."""
    if job.event == "pull_request_target":
        return (
            "The event pull_request_target gives a job the secrets and the write token of this repository, and the "
            "gate runs the code of the pull request. Use `on: pull_request`."
        )
    if job.event == "workflow_run" and job.from_fork:
        return (
            "The event workflow_run gives a job the write token of this repository, and the gate runs code of a fork. "
            "Run the gate on pull_request, and only the comment on workflow_run (docs/pull-requests.md)."
        )
    if job.from_fork and job.runner != HOSTED and not self_hosted_allowed:
        return (
            f"The code is of another repository, and this runner is {job.runner or 'not known to be hosted'}: a "
            "stranger's code would run on your machine. Use a runner of GitHub, or set `self-hosted-forks: true` if "
            "each job gets a fresh machine."
        )
    return None


def _pull(event: Mapping[str, Any]) -> PullRequest | None:
    pull = _of(event, "pull_request")
    if pull:
        head, number = _of(pull, "head"), pull.get("number", event.get("number"))
        if not isinstance(number, int) or isinstance(number, bool) or number <= 0:
            raise GateError(f"The event's pull request has the number {number!r}; allowed are whole numbers from 1.")
        return PullRequest(number, _sha(head.get("sha")), _repository(_of(head, "repo")), str(head.get("ref") or ""))
    run = _of(event, "workflow_run")
    if run and run.get("event") in ("pull_request", "pull_request_target"):
        repository = _repository(_of(run, "head_repository"))
        return PullRequest(None, _sha(run.get("head_sha")), repository, str(run.get("head_branch") or ""))
    return None


def _of(value: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def _repository(value: Mapping[str, Any]) -> str:
    name = str(value.get("full_name") or "")
    return name if REPOSITORY.fullmatch(name) else ""


def _sha(value: Any) -> str:
    return value if isinstance(value, str) and SHA.fullmatch(value) else ""


def _number(text: str | None) -> int:
    return int(text) if text is not None and re.fullmatch(r"[0-9]{1,12}", text) else 0
