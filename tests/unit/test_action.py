"""The composite action (action.yml) and the workflows of docs/pull-requests.md, as text.

pytest tests/unit/test_action.py
"""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
import yaml

from tests.helpers.ci_commands import calls_in, gate_words
from tests.helpers.commands import REPOSITORY
from tests.helpers.composite_action import evaluate, filled
from tests.unit.test_workflows import PINNED, USES
from tinyworlds_gate.cli.main import _parser

TEXT = (REPOSITORY / "action.yml").read_text(encoding="utf-8")
ACTION: dict[str, Any] = yaml.safe_load(TEXT)
STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]
SCRIPTS = [step for step in STEPS if "run" in step]
PAGE = (REPOSITORY / "docs" / "pull-requests.md").read_text(encoding="utf-8")
WORKFLOWS = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]


def names(pattern: str, text: str = TEXT) -> set[str]:
    return set(re.findall(pattern, text))


def test_every_action_is_pinned_to_the_commit_that_the_workflows_use() -> None:
    files = [*(REPOSITORY / ".github" / "workflows").glob("*.yml"), REPOSITORY / "action.yml"]
    used = {match.groups() for path in files for match in USES.finditer(path.read_text(encoding="utf-8"))}
    assert [pin for _, pin in used if not PINNED.fullmatch(pin)] == []
    assert len({action for action, _ in used}) == len(used)
    assert len(USES.findall(TEXT)) == TEXT.count("uses: ") == 6


@pytest.mark.parametrize("step", SCRIPTS, ids=lambda step: step["name"])
def test_no_value_is_part_of_a_script(step: dict[str, Any]) -> None:
    """A branch or a title of a pull request in `${{ }}` would be run."""
    assert "${{" not in step["run"]
    assert step["shell"] == "bash"
    done = subprocess.run(["bash", "-n"], input=step["run"], text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    used = names(r"\$\{?([A-Z_]+)", step["run"]) - {"RUNNER_TEMP", "GITHUB_ACTION_PATH", "PYTHONPATH"}
    assert used <= set(step.get("env") or {})


def test_every_input_is_declared_and_used_and_every_step_that_is_named_comes_before() -> None:
    assert names(r"inputs\.([a-z-]+)") == set(ACTION["inputs"])
    assert all(one["description"].endswith((".", "`")) for one in ACTION["inputs"].values())
    seen: set[str] = set()
    for step in STEPS:
        assert names(r"steps\.([a-z]+)\.", yaml.safe_dump(step)) <= seen
        seen |= {step["id"]} if "id" in step else set()
    assert names(r"steps\.([a-z]+)\.", yaml.safe_dump(ACTION["outputs"])) <= seen


def test_the_code_under_test_gets_no_token() -> None:
    with_token = [step["name"] for step in STEPS if "token" in yaml.safe_dump(step)]
    assert with_token == ["The comment"]
    [checkout] = [step for step in STEPS if "actions/checkout@" in step.get("uses", "")]
    assert checkout["with"] == {"fetch-depth": 0, "persist-credentials": False}
    assert "secrets." not in TEXT


def test_no_step_imports_from_the_folder_under_test() -> None:
    """`python -m` looks there first: a pull request could bring its own module `json`."""
    calls = [line for step in SCRIPTS for line in step["run"].splitlines() if "-m tinyworlds_gate" in line]
    assert len(calls) == 5
    assert [line for line in calls if not re.search(r" -[IP] -m tinyworlds_gate\.github ", line)] == []
    after = [line for line in calls if "guard" not in line and "keys" not in line]
    assert [line for line in after if " -I -m " not in line] == []


def test_the_guard_comes_before_the_code_and_what_follows_a_failure_needs_it() -> None:
    order = [step["name"] for step in STEPS]
    assert order.index("Refuse jobs in which the code under test could do harm") == 1
    always = [step for step in STEPS if "cancelled()" in str(step.get("if", ""))]
    assert all("steps.install.outcome" in one["if"] or "steps.gate.outputs" in one["if"] for one in always)
    assert len(always) == 4


# The workflows of the page.


def test_a_user_needs_six_lines() -> None:
    block = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0]
    assert len(block.strip().splitlines()) <= 6
    first = WORKFLOWS[0]
    assert first[True] == "pull_request"
    [job] = first["jobs"].values()
    assert [step["uses"].partition("@")[0] for step in job["steps"]] == ["OWNER/tinyworlds_gate"]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=range(len(WORKFLOWS)))
def test_a_workflow_of_the_page_is_safe_by_default(workflow: dict[Any, Any]) -> None:
    text = yaml.safe_dump(workflow)
    assert "pull_request_target" not in text
    assert "self-hosted" not in text
    assert "secrets." not in text
    scopes = {"contents", "pull-requests", "actions"}
    assert set(workflow["permissions"]) <= scopes
    for job in workflow["jobs"].values():
        for step in job["steps"]:
            assert "${{" not in step.get("run", "")
            assert set(step.get("with") or {}) <= {*ACTION["inputs"], "name", "path", "run-id", "github-token"}


def test_only_the_workflow_without_the_code_may_write_after_a_fork() -> None:
    follower = next(one for one in WORKFLOWS if "workflow_run" in str(one[True]))
    assert follower["permissions"] == {"actions": "read", "pull-requests": "write"}
    used = [step.get("uses", "").partition("@")[0] for job in follower["jobs"].values() for step in job["steps"]]
    assert "actions/checkout" not in used


def test_every_command_of_the_page_parses_with_its_own_parser() -> None:
    blocks = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    found = [words for block in blocks for call in calls_in(block) if (words := gate_words(call)) is not None]
    assert [_parser(words).parse_args(words).command for words in found] == ["report", "report", "runs"]


def test_every_action_of_the_page_is_pinned() -> None:
    used = {match.groups() for match in USES.finditer(PAGE) if not match[1].startswith("OWNER/")}
    texts = [path.read_text(encoding="utf-8") for path in (REPOSITORY / ".github" / "workflows").glob("*.yml")]
    pins = {match.groups() for text in texts for match in USES.finditer(text)}
    assert used <= pins


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("inputs.key || github.job", "smoke"),
        ("steps.gate.outputs.page != ''", "true"),
        ("!cancelled() && steps.install.outcome == 'success'", "false"),
        ("inputs.checkout == 'true'", "true"),
        ("nothing.there", ""),
    ],
)
def test_the_helper_reads_expressions(expression: str, value: str) -> None:
    contexts = {
        "inputs": {"key": "", "checkout": "true"},
        "github": {"job": "smoke"},
        "steps": {"gate": {"outputs": {"page": "x"}}},
    }
    assert evaluate(expression, contexts) == value
    assert filled(f"a ${{{{ {expression} }}}}", contexts) == f"a {value}"
