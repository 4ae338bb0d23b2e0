"""A stand-in for GitHub on this machine: comments, pull requests and git objects of one repository, by REST."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "token-of-the-job"
BOT = "github-actions[bot]"


class GitHub:
    """State of the stand-in. Tests change it; ``requests`` has what was asked, as `GET issues/7/comments`."""

    def __init__(self, repository: str = "owner/game") -> None:
        self.repository = repository
        self.login, self.may = BOT, {"comment", "contents"}
        self.comments: dict[int, dict[str, Any]] = {}
        self.pulls: list[dict[str, Any]] = []
        self.blobs: dict[str, bytes] = {}
        self.trees: dict[str, dict[str, str]] = {}
        self.commits: dict[str, dict[str, Any]] = {}
        self.refs: dict[str, str] = {}
        self.requests: list[str] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        """Statuses and headers of the next answers, in place of the right ones."""
        self.serves_raw = True
        self.url = ""

    def add_comment(self, number: int, body: str, login: str = BOT) -> dict[str, Any]:
        """Write a comment as somebody."""
        id = len(self.comments) + 1
        url = f"{self.url}/{self.repository}/pull/{number}#issuecomment-{id}"
        self.comments[id] = {"id": id, "number": number, "body": body, "user": {"login": login}, "html_url": url}
        return self.comments[id]

    def answer(self, method: str, path: str, query: dict[str, str], body: dict[str, Any]) -> tuple[int, Any]:
        """Return status and JSON of a request below /repos/OWNER/NAME/."""
        if found := re.fullmatch(r"issues/(\d+)/comments", path):
            number = int(found[1])
            if method == "GET":
                size, page = int(query.get("per_page", 30)), int(query.get("page", 1))
                there = [one for one in self.comments.values() if one["number"] == number]
                return 200, there[(page - 1) * size : page * size]
            return self._written(number, None, body)
        if found := re.fullmatch(r"issues/comments/(\d+)", path):
            return self._written(None, int(found[1]), body)
        if path == "pulls":
            owner, _, branch = query["head"].partition(":")
            return 200, [p for p in self.pulls if p["head"]["ref"] == branch and p["head"]["owner"] == owner]
        return self._git(method, path.removeprefix("git/"), body)

    def _written(self, number: int | None, id: int | None, body: dict[str, Any]) -> tuple[int, Any]:
        if "comment" not in self.may:
            return 403, {"message": "Resource not accessible by integration"}
        if len(body["body"]) > 65_536:
            return 422, {"message": "Body is too long (maximum is 65536 characters)"}
        if number is not None:
            return 201, self.add_comment(number, body["body"], self.login)
        if id not in self.comments:
            return 404, {"message": "Not Found"}
        self.comments[id]["body"] = body["body"]
        return 200, self.comments[id]

    def _git(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        kind, _, name = path.partition("/")
        if method == "GET":
            return self._git_object(kind, name)
        if "contents" not in self.may:
            return 403, {"message": "Resource not accessible by integration"}
        if kind == "blobs":
            text = body["content"]
            content = base64.b64decode(text) if body["encoding"] == "base64" else text.encode()
            return self._stored(self.blobs, content, content)
        if kind == "trees":
            tree = dict(self.trees.get(body.get("base_tree", ""), {}))
            tree |= {one["path"]: one["sha"] for one in body["tree"]}
            return self._stored(self.trees, tree, json.dumps(tree, sort_keys=True).encode())
        if kind == "commits":
            return self._stored(self.commits, dict(body), json.dumps(body, sort_keys=True).encode())
        if method == "POST":
            self.refs[body["ref"].removeprefix("refs/")] = body["sha"]
            return 201, {}
        tip = self.refs.get(name)
        if not body["force"] and tip not in self.commits[body["sha"]]["parents"]:
            return 422, {"message": "Update is not a fast forward"}
        self.refs[name] = body["sha"]
        return 200, {}

    def _git_object(self, kind: str, name: str) -> tuple[int, Any]:
        if kind == "ref":
            return (200, {"object": {"sha": self.refs[name]}}) if name in self.refs else (404, {"message": "Not Found"})
        if kind == "commits":
            return 200, {"tree": {"sha": self.commits[name]["tree"]}}
        return 200, {"tree": [{"path": path} for path in dict.fromkeys(one.split("/")[0] for one in self.trees[name])]}

    @staticmethod
    def _stored(objects: dict[str, Any], value: Any, content: bytes) -> tuple[int, Any]:
        sha = hashlib.sha1(content).hexdigest()
        objects[sha] = value
        return 201, {"sha": sha}

    def raw(self, path: str) -> bytes | None:
        """Return the content of /OWNER/NAME/raw/COMMIT/PATH."""
        found = re.fullmatch(rf"/{re.escape(self.repository)}/raw/([0-9a-f]{{40}})/(.+)", path)
        if found is None or found[1] not in self.commits or not self.serves_raw:
            return None
        blob = self.trees[self.commits[found[1]]["tree"]].get(found[2])
        return None if blob is None else self.blobs[blob]


@contextmanager
def serving(github: GitHub) -> Iterator[GitHub]:
    """Serve the stand-in on a free port of this machine while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def _handle(self) -> None:
            parts = urlsplit(self.path)
            raw = github.raw(parts.path)
            if raw is not None:
                self._send(200, raw, "image/png")
                return
            path = parts.path.removeprefix(f"/repos/{github.repository}/")
            github.requests.append(f"{self.command} {path}")
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
            if github.answers:
                status, headers = github.answers.pop(0)
                self._send(status, b'{"message": "as the test wants it"}', "application/json", headers)
            elif self.headers.get("Authorization") != f"Bearer {TOKEN}" or path == parts.path:
                self._send(404, b'{"message": "Not Found"}', "application/json")
            else:
                query = {key: value[0] for key, value in parse_qs(parts.query).items()}
                status, answer = github.answer(self.command, path, query, body)
                self._send(status, json.dumps(answer).encode(), "application/json")

        def _send(self, status: int, content: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = _handle

        def log_message(self, *_args: Any) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    github.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield github
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


SHA = "5" * 40


def pull_request_event(repository: str, number: int = 7, head: str | None = None, **more: Any) -> dict[str, Any]:
    """Return the event `pull_request`; ``head``: the repository of the change."""
    pull = {
        "number": number,
        "head": {"sha": SHA, "ref": "change", "repo": {"full_name": head or repository}},
        "base": {"repo": {"full_name": repository}},
    }
    return {"pull_request": pull, "repository": {"full_name": repository, "private": False}, **more}


def workflow_run_event(repository: str, head: str, branch: str = "change") -> dict[str, Any]:
    """Return the event `workflow_run` after a pull request's workflow."""
    run = {
        "event": "pull_request",
        "head_sha": SHA,
        "head_branch": branch,
        "head_repository": {"full_name": head},
        "pull_requests": [],
    }
    return {"workflow_run": run, "repository": {"full_name": repository, "private": False}}


def job_variables(folder: Path, github: GitHub, event: dict[str, Any], name: str = "pull_request") -> dict[str, str]:
    """Write the event and return the variables of a job."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "event.json"
    path.write_text(json.dumps(event), encoding="utf-8")
    for file in ("output", "summary"):
        (folder / file).touch()
    return {
        "GITHUB_REPOSITORY": github.repository,
        "GITHUB_EVENT_NAME": name,
        "GITHUB_EVENT_PATH": str(path),
        "GITHUB_API_URL": github.url,
        "GITHUB_SERVER_URL": github.url,
        "GITHUB_RUN_NUMBER": "12",
        "GITHUB_RUN_ATTEMPT": "1",
        "GITHUB_OUTPUT": str(folder / "output"),
        "GITHUB_STEP_SUMMARY": str(folder / "summary"),
        "RUNNER_ENVIRONMENT": "github-hosted",
        "TINYWORLDS_GATE_TOKEN": TOKEN,
    }
