"""Steps of the composite action (action.yml): `python -m tinyworlds_gate.github guard|keys|gate|comment|annotate`.

Inputs and addresses come in variables of the environment, never in the text of a script. A step that has the token
runs with `python -I`, which imports nothing from the folder under test.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tinyworlds_gate.errors import GateError
from tinyworlds_gate.github.job import read_job, refusal
from tinyworlds_gate.run.redact import redact

INPUT = "TINYWORLDS_GATE_"


def main(argv: Sequence[str] | None = None, variables: Mapping[str, str] | None = None) -> int:
    """Run a step; return its exit code: 0, or 2 with a sentence where it cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m tinyworlds_gate.github", description=__doc__)
    parser.add_argument("step", choices=tuple(STEPS))
    step = parser.parse_args(argv).step
    try:
        return STEPS[step](dict(os.environ if variables is None else variables))
    except GateError as error:
        print(f"::error title=tinyworlds_gate {step}::{_line(str(error))}")
        return 2


def guard(variables: Mapping[str, str]) -> int:
    """Refuse a job in which the code under test could do harm."""
    allowed = variables.get(f"{INPUT}SELF_HOSTED_FORKS", "") == "true"
    why = refusal(read_job(variables), self_hosted_allowed=allowed)
    if why is not None:
        raise GateError(why)
    return 0


def keys(variables: Mapping[str, str]) -> int:
    """Set the outputs `packages` and `data`, the keys of the caches."""
    from tinyworlds_gate.github.cache_keys import cache_keys

    action = Path(variables.get("GITHUB_ACTION_PATH", ""))
    files = [action / name for name in ("constraints.txt", "pyproject.toml")]
    try:
        found = cache_keys(variables.get(f"{INPUT}ARGUMENTS", ""), files, variables.get("PIP_EXTRA_INDEX_URL", ""))
    except OSError as error:
        raise GateError(f"{error.filename} cannot be read ({error.strerror}); the action is not whole.") from error
    set_outputs(variables, found)
    return 0


def gate(variables: Mapping[str, str]) -> int:
    """Run the gate; set the outputs `status`, `run` and `page`. A gate that fails does not end the job here."""
    from tinyworlds_gate.github.session import pytest_of_this_environment, run_gate, split_arguments

    root = Path.cwd()
    words = split_arguments(variables.get(f"{INPUT}ARGUMENTS", ""))
    done = run_gate(words, root, variables, pytest_of_this_environment())
    found = {"status": str(done.status), "reason": "" if done.run else done.no_run_reason}
    for name, path in (("run", done.run), ("page", done.page)):
        found[name] = "" if path is None else os.path.relpath(path, root)
    set_outputs(variables, found)
    return 0


def comment(variables: Mapping[str, str]) -> int:
    """Write the comment, or the summary of the job where nobody may comment; set `comment-url` and `verdict`."""
    from tinyworlds_gate.github.publish import publish

    for name, value in publish(variables).items():
        set_outputs(variables, {name: value})
    return 0


def annotate(variables: Mapping[str, str]) -> int:
    """Print the error lines of the run."""
    from tinyworlds_gate.github.publish import annotation_lines_of

    for line in annotation_lines_of(variables):
        print(line)
    return 0


STEPS = {"guard": guard, "keys": keys, "gate": gate, "comment": comment, "annotate": annotate}


def set_outputs(variables: Mapping[str, str], found: Mapping[str, str]) -> None:
    """Append outputs of the step to `$GITHUB_OUTPUT`; a value is one line.

    Raises:
        GateError: a value has a line break (a folder's name can), or the file cannot be written.
    """
    for name, value in found.items():
        if "\n" in value or "\r" in value:
            raise GateError(f"The output {name} has a line break: {value!r}. Rename the folder.")
    path = variables.get("GITHUB_OUTPUT")
    text = "".join(f"{name}={value}\n" for name, value in found.items())
    if not path:
        print(text, end="")
        return
    try:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise GateError(f"$GITHUB_OUTPUT cannot be written: {error.strerror}.") from error


def _line(text: str) -> str:
    return " ".join(redact(text).split()).replace("%", "%25")


if __name__ == "__main__":
    sys.exit(main())
