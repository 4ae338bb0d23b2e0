"""Write one comment on a pull request and update it in place, found by its marker and its author."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tinyworlds_gate.github.api import Api, ApiError
from tinyworlds_gate.github.job import PullRequest
from tinyworlds_gate.reports.comment import marked

PAGE, MOST_PAGES = 100, 50
CREATED, UPDATED, NEWER = "created", "updated", "newer"
GONE = (404, 410)


@dataclass(frozen=True)
class Written:
    """What was done: ``created``, ``updated``, or ``newer`` (a newer run has written it, so it stays)."""

    outcome: str
    url: str


def write_comment(api: Api, number: int, body: str, *, key: str, order: tuple[int, int], author: str) -> Written:
    """Update the comment of this key, or create it.

    Args:
        order: number and attempt of the workflow's run; a comment of a newer run is not replaced.
        author: login that wrote the comment; the same marker in a comment of somebody else is ignored.

    Raises:
        ApiError: the token may not comment, or the server does not answer.
    """
    found = find_comment(api, number, key, author)
    if found is not None:
        there = marked(str(found.get("body") or ""), key) or (0, 0)
        if there > order:
            return Written(NEWER, _url(found))
        try:
            return Written(UPDATED, _url(api.call("PATCH", f"issues/comments/{int(found['id'])}", {"body": body})))
        except ApiError as error:
            if error.status not in GONE:  # somebody deleted it since it was listed
                raise
    return Written(CREATED, _url(api.call("POST", f"issues/{number}/comments", {"body": body})))


def find_comment(api: Api, number: int, key: str, author: str) -> dict[str, Any] | None:
    """Return the oldest comment of this key by this author; None where there is none."""
    for page in range(1, MOST_PAGES + 1):
        comments = api.call("GET", f"issues/{number}/comments", per_page=PAGE, page=page)
        if not isinstance(comments, list):
            raise ApiError(f"GET issues/{number}/comments: the answer is no list")
        for one in comments:
            login = str((one.get("user") or {}).get("login") or "")
            if login.lower() == author.lower() and marked(str(one.get("body") or ""), key) is not None:
                return dict(one)
        if len(comments) < PAGE:
            return None
    return None


def find_pull_request(api: Api, pull: PullRequest) -> int | None:
    """Return the number of the open pull request whose newest commit was tested; None where it has gone on.

    A `workflow_run` of a fork does not name it, and the artifact of the fork's job is not trusted to.
    """
    owner = pull.head_repository.partition("/")[0]
    if not owner or not pull.head_branch or not pull.head_sha:
        return None
    pulls = api.call("GET", "pulls", state="open", head=f"{owner}:{pull.head_branch}", per_page=PAGE)
    for one in pulls if isinstance(pulls, list) else []:
        head = one.get("head") or {}
        same = str((head.get("repo") or {}).get("full_name") or "").lower() == pull.head_repository.lower()
        if head.get("sha") == pull.head_sha and same and isinstance(one.get("number"), int):
            return int(one["number"])
    return None


def _url(comment: Any) -> str:
    return str(comment.get("html_url") or "") if isinstance(comment, dict) else ""
