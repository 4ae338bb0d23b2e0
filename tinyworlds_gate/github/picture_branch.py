"""Put pictures on a branch without a common history, so that a comment can show them.

GitHub shows a picture in a comment only if it has an address that anybody can read. The branch holds nothing else: a
branch that has no marker file of this module is never written to. Earlier pictures stay, because comments show them.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from tinyworlds_gate.errors import GateError
from tinyworlds_gate.github.api import Api, ApiError, is_public_png

BRANCH = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(?:/[A-Za-z0-9][A-Za-z0-9_-]*)*")
MARKER_FILE = ".tinyworlds-gate-pictures"
MARKER_TEXT = "Pictures of comments on pull requests, written by the action of tinyworlds_gate.\n"
TRIES = 3
CONFLICT = (409, 422)


def push_pictures(
    api: Api, branch: str, folder: str, pictures: Mapping[str, bytes], *, server: str, repository: str
) -> dict[str, str]:
    """Commit pictures (name → PNG content) below ``folder`` and return name → address, all of which can be loaded.

    Raises:
        GateError: the name of the branch is not allowed, or the branch is somebody's own.
        ApiError: the token may not write contents, or the server does not answer.
    """
    if not BRANCH.fullmatch(branch):
        raise GateError(
            f"pictures-branch {branch!r} is not usable: allowed are letters, digits, '_', '-' and '/' between them. "
            "Use tinyworlds-gate-pictures."
        )
    blobs = {
        name: _blob(api, base64.b64encode(content).decode("ascii"), "base64") for name, content in pictures.items()
    }
    marker = _blob(api, MARKER_TEXT, "utf-8")
    for left in range(TRIES - 1, -1, -1):
        try:
            commit = _commit(api, branch, {MARKER_FILE: marker, **{f"{folder}/{name}": blobs[name] for name in blobs}})
            break
        except ApiError as error:
            if error.status not in CONFLICT or not left:  # another job has written to the branch meanwhile
                raise
    found = {name: f"{server.rstrip('/')}/{repository}/raw/{commit}/{folder}/{name}" for name in blobs}
    return {name: url for name, url in found.items() if is_public_png(url)}


def picture_names(paths: Mapping[str, str]) -> dict[str, str]:
    """Return path → file name on the branch: what it shows, not what a run is called (pure).

    Args:
        paths: path → what the picture shows.
    """
    return {path: f"{re.sub(r'[^a-z]+', '-', what.lower()).strip('-')}.png" for path, what in paths.items()}


def _blob(api: Api, content: str, encoding: str) -> str:
    return str(api.call("POST", "git/blobs", {"content": content, "encoding": encoding})["sha"])


def _commit(api: Api, branch: str, files: Mapping[str, str]) -> str:
    """Commit files (path → blob) on top of the branch, or as its first commit; return the commit's SHA."""
    parent = _tip(api, branch)
    tree: dict[str, object] = {
        "tree": [{"path": path, "mode": "100644", "type": "blob", "sha": blob} for path, blob in files.items()]
    }
    if parent is not None:
        base = str(api.call("GET", f"git/commits/{parent}")["tree"]["sha"])
        names = [str(one.get("path")) for one in api.call("GET", f"git/trees/{base}").get("tree") or []]
        if MARKER_FILE not in names:
            raise GateError(
                f"The branch {branch} has no file {MARKER_FILE}, so it is not one of pictures; nothing was written to "
                "it. Name another pictures-branch."
            )
        tree["base_tree"] = base
    made = str(api.call("POST", "git/trees", tree)["sha"])
    folder = PurePosixPath(next(path for path in files if path != MARKER_FILE)).parent
    message = {"message": f"Pictures of {folder}", "tree": made, "parents": [] if parent is None else [parent]}
    commit = str(api.call("POST", "git/commits", message)["sha"])
    if parent is None:
        api.call("POST", "git/refs", {"ref": f"refs/heads/{branch}", "sha": commit})
    else:
        api.call("PATCH", f"git/refs/heads/{branch}", {"sha": commit, "force": False})
    return commit


def _tip(api: Api, branch: str) -> str | None:
    try:
        return str(api.call("GET", f"git/ref/heads/{branch}")["object"]["sha"])
    except ApiError as error:
        if error.status == 404:
            return None
        raise
