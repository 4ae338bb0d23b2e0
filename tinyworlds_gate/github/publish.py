"""Post the comment on a run: pictures first, then the comment; where nobody may comment, the summary of the job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tinyworlds_gate.errors import GateError
from tinyworlds_gate.github.api import Api, ApiError
from tinyworlds_gate.github.job import Job, read_job
from tinyworlds_gate.github.picture_branch import picture_names, push_pictures
from tinyworlds_gate.github.pull_comment import NEWER, find_pull_request, write_comment
from tinyworlds_gate.loop.judged_record import judge_again
from tinyworlds_gate.reports.annotations import annotation_lines, no_run_annotation
from tinyworlds_gate.reports.comment import Around, Strip, checked_key, film_strips, no_run_comment, run_comment
from tinyworlds_gate.reports.comment_markup import checked_url
from tinyworlds_gate.reports.missing import Missing, missing_reports
from tinyworlds_gate.reports.model import RunRecord, load_record
from tinyworlds_gate.reports.page import read_picture
from tinyworlds_gate.run.layout import project_of_run

INPUT = "TINYWORLDS_GATE_"
AUTHOR = "github-actions[bot]"
"""Who writes with the token of a job."""
UNTRUSTED = (
    "The job of the pull request made this run, with its own code: it can have written any number here. Read the "
    "change before you merge."
)
READ_ONLY = "the token of a pull request from a fork may only read"
MAY_NOT = (401, 403, 404)


def publish(variables: Mapping[str, str]) -> dict[str, str]:
    """Write the comment and return the action's outputs `comment-url` and `verdict`.

    Raises:
        GateError: the run cannot be read, an input is wrong, or the server does not answer.
    """
    job = read_job(variables)
    untrusted = job.event == "workflow_run"
    around = Around(
        key=checked_key(_input(variables, "KEY") or "tinyworlds-gate"),
        order=job.order,
        page_url=_url(variables, "PAGE_URL"),
        evidence_url=_url(variables, "EVIDENCE_URL"),
        commit=job.pull.head_sha if job.pull is not None and job.pull.head_sha else None,
        note=UNTRUSTED if untrusted else None,
    )
    api, number, why_not = _reader(job, variables)
    folder = _input(variables, "RUN")
    if not folder:
        reason = _input(variables, "REASON") or "The job ended before the gate. Its log says why."
        text, verdict = no_run_comment(reason, around), "INVALID"
    else:
        record, missing = read_run(Path(folder), judge=not untrusted)
        strips = [] if untrusted else film_strips(record, _input(variables, "BASELINE_PICTURE") or None)
        if untrusted:
            around = replace(around, no_pictures="those of a fork are not copied into this repository")
            strips = [Strip("this run", None, around.no_pictures)]
        else:
            around = _with_pictures(around, strips, record, job, api, number, variables)
        text = run_comment(record, around, strips, missing)
        verdict = "INVALID" if missing else record.word()
    url = ""
    if api is None or number is None:
        _summarise(variables, text, why_not)
    else:
        url = _post(api, number, text, around, variables)
    return {"comment-url": url, "verdict": verdict}


def annotation_lines_of(variables: Mapping[str, str]) -> list[str]:
    """Return the error lines of the run, or the one of a job without a run."""
    folder = _input(variables, "RUN")
    if not folder:
        return [no_run_annotation(_input(variables, "REASON") or "The job ended before the gate.")]
    return annotation_lines(*read_run(Path(folder)), Path.cwd())


def read_run(folder: Path, *, judge: bool = True) -> tuple[RunRecord, list[Missing]]:
    """Return a run and its missing reports.

    Args:
        judge: judge the rows and the files of the verdict again; of a run that somebody else made, only the journal is
            read.

    Raises:
        GateError: it is no run, or its journal cannot be read.
    """
    run = folder.resolve()
    root = project_of_run(run, folder)
    record = load_record(root, run)
    if not judge:
        return record, []
    judge_again(record)
    over = record.finished is not None and record.last_attempt is not None
    return record, missing_reports(root, run, record=record) if over else []


def _reader(job: Job, variables: Mapping[str, str]) -> tuple[Api | None, int | None, str]:
    """Return the API and the pull request to comment on, or why there is none."""
    if job.pull is None:
        return None, None, f"the event {job.event or 'of this job'} belongs to no pull request"
    if _input(variables, "COMMENT") == "false":
        return None, None, "the input `comment` is false"
    if job.from_fork and job.event != "workflow_run":
        return None, None, READ_ONLY
    url = variables.get("GITHUB_API_URL") or "https://api.github.com"
    api = Api(url, job.repository, _input(variables, "TOKEN"))
    if job.pull.number is not None:
        return api, job.pull.number, ""
    number = find_pull_request(api, job.pull)
    return api, number, "" if number else "no open pull request has the commit that was tested"


def _with_pictures(
    around: Around,
    strips: Sequence[Strip],
    record: RunRecord,
    job: Job,
    api: Api | None,
    number: int | None,
    variables: Mapping[str, str],
) -> Around:
    """Put the film strips where a comment can show them; where that is not possible, say why."""
    branch = _input(variables, "PICTURES_BRANCH")
    paths = {strip.path: strip.what for strip in strips if strip.path is not None}
    if not branch or api is None or number is None or not paths:
        why = "a comment shows only pictures that have an address; the input `pictures-branch` gives them one"
        return replace(around, no_pictures=why)
    if job.private:
        return replace(around, no_pictures="in a private repository a picture has no address that a comment can show")
    names = picture_names(paths)
    contents = {names[path]: read_picture(record.project_root, path) for path in paths}
    folder = f"pull-{number}/{job.order[0]}-{job.order[1]}-{around.key}"
    server = variables.get("GITHUB_SERVER_URL") or "https://github.com"
    try:
        found = push_pictures(api, branch, folder, contents, server=server, repository=job.repository)
    except ApiError as error:
        why = "the token has no `contents: write`" if error.status in MAY_NOT else "the server did not take them"
        print(f"::notice title=tinyworlds_gate pictures::{_line(str(error))}")
        return replace(around, no_pictures=f"they could not be put on the branch {branch}: {why}")
    urls = {path: found[names[path]] for path in paths if names[path] in found}
    return replace(around, pictures=urls, no_pictures="its address could not be loaded")


def _post(api: Api, number: int, text: str, around: Around, variables: Mapping[str, str]) -> str:
    """Write the comment and return its address; a token that may not comment gets the summary instead."""
    author = _input(variables, "AUTHOR") or AUTHOR
    try:
        done = write_comment(api, number, text, key=around.key, order=around.order or (0, 0), author=author)
    except ApiError as error:
        if error.status not in MAY_NOT:
            raise
        _summarise(variables, text, f"the token has no `pull-requests: write` ({error})")
        return ""
    if done.outcome == NEWER:
        _summarise(variables, text, "a newer run has written the comment of this pull request already")
    return done.url


def _summarise(variables: Mapping[str, str], text: str, why: str) -> None:
    print(f"::notice title=tinyworlds_gate::{_line(f'No comment was written: {why}. The summary of the job has it.')}")
    path = variables.get("GITHUB_STEP_SUMMARY")
    if not path:
        print(text)
        return
    try:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text + "\n")
    except OSError as error:
        raise GateError(f"$GITHUB_STEP_SUMMARY cannot be written: {error.strerror}.") from error


def _input(variables: Mapping[str, str], name: str) -> str:
    return variables.get(f"{INPUT}{name}", "").strip()


def _url(variables: Mapping[str, str], name: str) -> str | None:
    value = _input(variables, name)
    return checked_url(value, f"{INPUT}{name}") if value else None


def _line(text: str) -> str:
    return " ".join(text.split()).replace("%", "%25")
