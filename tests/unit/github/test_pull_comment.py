"""One comment on a pull request: found by marker and author, updated in place, never somebody else's.

pytest tests/unit/github/test_pull_comment.py
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helpers.github_server import BOT, SHA, TOKEN, GitHub, serving
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.github import api as api_module
from tinyworlds_gate.github.api import Api, ApiError
from tinyworlds_gate.github.job import PullRequest
from tinyworlds_gate.github.pull_comment import CREATED, NEWER, UPDATED, Written, find_pull_request, write_comment
from tinyworlds_gate.reports.comment import Around, marked, no_run_comment


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHub]:
    monkeypatch.setattr(api_module, "PAUSE_S", 0.0)
    with serving(GitHub()) as there:
        yield there


def api_of(github: GitHub, token: str = TOKEN) -> Api:
    return Api(github.url, github.repository, token)


def body_of(key: str = "gate", run: tuple[int, int] = (12, 1), text: str = "It broke off.") -> str:
    return no_run_comment(text, Around(key=key, order=run))


def write(github: GitHub, body: str, key: str = "gate", order: tuple[int, int] = (12, 1)) -> Written:
    return write_comment(api_of(github), 7, body, key=key, order=order, author=BOT)


def test_the_first_run_creates_the_comment_and_the_second_one_updates_it(github: GitHub) -> None:
    assert write(github, body_of()).outcome == CREATED
    again = write(github, body_of(run=(13, 1), text="It broke off again."), order=(13, 1))
    assert again == Written(UPDATED, github.comments[1]["html_url"])
    assert len(github.comments) == 1
    assert "broke off again" in github.comments[1]["body"]


def test_a_comment_of_another_job_or_another_person_is_left_alone(github: GitHub) -> None:
    stranger = github.add_comment(7, body_of(text="PASS, merge it"), login="stranger")
    other = github.add_comment(7, body_of(key="nightly"))
    quoted = github.add_comment(7, f"{body_of()}\nI agree.")
    elsewhere = github.add_comment(8, body_of())
    before = [dict(one) for one in (stranger, other, quoted, elsewhere)]
    assert write(github, body_of(text="mine")).outcome == CREATED
    assert [stranger, other, quoted, elsewhere] == before


def test_it_is_found_on_a_later_page(github: GitHub) -> None:
    for number in range(230):
        github.add_comment(7, f"remark {number}", login="somebody")
    mine = github.add_comment(7, body_of(run=(1, 1)))
    assert write(github, body_of()).outcome == UPDATED
    assert "run=12.1" in mine["body"]
    assert github.requests.count("GET issues/7/comments") == 3


@pytest.mark.parametrize(
    ("there", "outcome"), [((13, 1), NEWER), ((12, 2), NEWER), ((12, 1), UPDATED), ((3, 9), UPDATED)]
)
def test_an_older_run_does_not_replace_a_newer_comment(github: GitHub, there: tuple[int, int], outcome: str) -> None:
    github.add_comment(7, body_of(run=there, text="the newer one"))
    assert write(github, body_of(), order=(12, 1)).outcome == outcome
    assert ("the newer one" in github.comments[1]["body"]) is (outcome == NEWER)


def test_a_comment_that_was_deleted_meanwhile_is_written_anew(github: GitHub) -> None:
    github.add_comment(7, body_of(run=(1, 1)))
    found = dict(github.comments)

    class Deleting(Api):
        def call(self, method: str, path: str, *args: object, **query: object) -> object:
            if method == "PATCH":
                github.comments.clear()
            return super().call(method, path, *args, **query)  # type: ignore[arg-type]

    api = Deleting(github.url, github.repository, TOKEN)
    assert write_comment(api, 7, body_of(), key="gate", order=(12, 1), author=BOT).outcome == CREATED
    assert len(found) == len(github.comments) == 1


def test_a_token_that_may_only_read_is_an_error_with_its_status(github: GitHub) -> None:
    github.may.clear()
    with pytest.raises(ApiError, match="403 Resource not accessible") as caught:
        write(github, body_of())
    assert caught.value.status == 403


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_reading_is_tried_again_and_writing_a_new_comment_is_not(github: GitHub, status: int) -> None:
    github.answers = [(status, {"Retry-After": "0"})] * 2
    assert write(github, body_of()).outcome == CREATED
    github.comments.clear()
    github.requests.clear()
    api, sent = api_of(github), github.answers
    sent.append((status, {}))
    with pytest.raises(ApiError, match=f"{status} as the test wants it"):
        api.call("POST", "issues/7/comments", {"body": "x"})
    assert github.requests == ["POST issues/7/comments"]


def test_the_token_does_not_follow_a_redirect(github: GitHub) -> None:
    with serving(GitHub()) as elsewhere:
        github.answers = [(301, {"Location": f"{elsewhere.url}/repos/owner/game/issues/7/comments"})]
        with pytest.raises(ApiError, match="301"):
            api_of(github).call("GET", "issues/7/comments")
        assert elsewhere.requests == []


@pytest.mark.parametrize("url", ["http://api.example.com", "ftp://localhost", "", "//localhost"])
def test_the_token_goes_to_an_encrypted_address_only(url: str) -> None:
    with pytest.raises(GateError, match="https://"):
        Api(url, "owner/game", TOKEN)


def test_an_empty_token_says_what_to_pass() -> None:
    with pytest.raises(GateError, match=r"github\.token"):
        Api("https://api.example.com", "owner/game", "")


def test_a_server_that_does_not_answer_is_one_sentence_without_the_token(github: GitHub) -> None:
    api = Api("http://127.0.0.1:9", github.repository, TOKEN)
    with pytest.raises(ApiError, match="no answer") as caught:
        api.call("GET", "issues/7/comments")
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    ("sha", "head", "number"), [(SHA, "stranger/game", 9), ("6" * 40, "stranger/game", None), (SHA, "other/game", None)]
)
def test_after_a_fork_the_pull_request_is_found_by_branch_and_commit(
    github: GitHub, sha: str, head: str, number: int | None
) -> None:
    repo = {"full_name": head}
    github.pulls = [
        {"number": 3, "head": {"owner": "stranger", "ref": "change", "sha": "7" * 40, "repo": {"full_name": head}}},
        {"number": 9, "head": {"owner": "stranger", "ref": "change", "sha": sha, "repo": repo}},
    ]
    assert find_pull_request(api_of(github), PullRequest(None, SHA, "stranger/game", "change")) == number
    assert find_pull_request(api_of(github), PullRequest(None, "", "", "")) is None


@pytest.mark.parametrize(
    ("last", "found"),
    [
        ("<!-- tinyworlds-gate:comment key=gate run=3.1 -->", (3, 1)),
        ("<!-- tinyworlds-gate:comment key=gate -->\n\n", (0, 0)),
        ("<!-- tinyworlds-gate:comment key=gate run=x.1 -->", None),
        ("<!-- tinyworlds-gate:comment key=gates run=3.1 -->", None),
        ("> <!-- tinyworlds-gate:comment key=gate run=3.1 -->", None),
    ],
)
def test_the_marker_is_a_line_of_its_own_at_the_end(last: str, found: tuple[int, int] | None) -> None:
    assert marked(f"text\n{last}", "gate") == found
    assert marked(f"{last}\ntext", "gate") is None
