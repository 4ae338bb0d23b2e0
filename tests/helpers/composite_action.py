"""Run the steps of a composite action on this machine, as a runner does: expressions, conditions, outputs, scripts.

Steps that use another action are answered by a function of the test. Only the parts of GitHub's expressions that
action.yml has are known: names, texts in single quotation marks, ``==``, ``!=``, ``&&``, ``||`` and ``cancelled()``.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
STATUS = re.compile(r"\b(always|cancelled|success|failure)\(\)")
Step = Mapping[str, Any]
Answer = Callable[[Step, Mapping[str, str]], Mapping[str, str]]


def evaluate(expression: str, contexts: Mapping[str, Any]) -> str:
    """Return the value of an expression as text; an unknown name is an empty text, as on GitHub."""
    expression = expression.strip()
    for part in expression.split("||")[:-1]:
        value = evaluate(part, contexts)
        if value not in ("", "false"):
            return value
    expression = expression.rpartition("||")[2].strip()
    if "&&" in expression:
        values = [evaluate(part, contexts) for part in expression.split("&&")]
        return next((value for value in values if value in ("", "false")), values[-1])
    for operator in ("==", "!="):
        if operator in expression:
            left, right = (evaluate(part, contexts) for part in expression.split(operator))
            return "true" if (left == right) is (operator == "==") else "false"
    if expression == "!cancelled()":
        return "true"
    if expression.startswith("'"):
        return expression.strip("'")
    found: Any = contexts
    for name in expression.split("."):
        found = found.get(name, "") if isinstance(found, Mapping) else ""
    assert isinstance(found, str), f"{expression} is no text"
    return found


def filled(text: object, contexts: Mapping[str, Any]) -> str:
    """Return a text with its expressions evaluated."""
    return EXPRESSION.sub(lambda found: evaluate(found[1], contexts), str(text))


@dataclass
class ActionRun:
    """One run of an action. ``log`` has the name of each step that ran and the output of its script."""

    action: Mapping[str, Any]
    folder: Path
    workspace: Path
    temp: Path
    variables: Mapping[str, str]
    github: Mapping[str, str]
    answer: Answer
    inputs: Mapping[str, str] = field(default_factory=dict)
    skipped: frozenset[str] = frozenset()
    """IDs of steps that an earlier run has done."""
    steps: dict[str, Any] = field(default_factory=dict)
    log: list[tuple[str, str]] = field(default_factory=list)
    failed: bool = False
    status: int = 0

    def run(self) -> ActionRun:
        """Run all steps; return this run."""
        for number, step in enumerate(self.action["runs"]["steps"]):
            if self._condition(step):
                self._step(step, number)
        return self

    def output_of(self, name: str) -> str:
        """Return what a step of this name printed."""
        return next(text for step, text in self.log if step == name)

    def outputs(self) -> dict[str, str]:
        """Return the outputs of the action."""
        return {name: filled(one["value"], self._contexts()) for name, one in self.action["outputs"].items()}

    def _contexts(self) -> dict[str, Any]:
        defaults = {name: filled(one.get("default", ""), {"github": self.github}) for name, one in self._inputs()}
        runner = {"temp": str(self.temp), "os": "Linux", "arch": "X64"}
        return {"inputs": {**defaults, **self.inputs}, "github": self.github, "steps": self.steps, "runner": runner}

    def _inputs(self) -> list[tuple[str, Mapping[str, Any]]]:
        return list(self.action["inputs"].items())

    def _condition(self, step: Step) -> bool:
        text = str(step.get("if", "success()")).strip()
        text = text.removeprefix("${{").removesuffix("}}")
        if STATUS.search(text) is None and self.failed:
            return False
        if text == "success()":
            return not self.failed
        return evaluate(text, self._contexts()) not in ("", "false")

    def _step(self, step: Step, number: int) -> None:
        contexts = self._contexts()
        if step.get("id") in self.skipped:
            outputs, status, text = {}, 0, ""
        elif "uses" in step:
            given = {key: filled(value, contexts) for key, value in (step.get("with") or {}).items()}
            outputs, status, text = dict(self.answer(step, given)), 0, ""
        else:
            outputs, status, text = self._script(step, number, contexts)
        self.log.append((str(step["name"]), text))
        if status and not step.get("continue-on-error"):
            self.failed, self.status = True, self.status or status
        if "id" in step:
            self.steps[str(step["id"])] = {"outputs": outputs, "outcome": "failure" if status else "success"}

    def _script(self, step: Step, number: int, contexts: Mapping[str, Any]) -> tuple[dict[str, str], int, str]:
        assert step["shell"] == "bash"
        output = self.folder / f"output_{number}"
        output.touch()
        place = {"GITHUB_ACTION_PATH": self.github["action_path"]}
        env = {key: filled(value, contexts) for key, value in (step.get("env") or {}).items()}
        script = self.folder / f"script_{number}.sh"
        script.write_text(step["run"], encoding="utf-8")
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", str(script)],
            cwd=self.workspace,
            env={
                **os.environ,
                **self.variables,
                "RUNNER_TEMP": str(self.temp),
                **place,
                **env,
                "GITHUB_OUTPUT": str(output),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=1200,
        )
        lines = output.read_text(encoding="utf-8").splitlines()
        return dict(line.split("=", 1) for line in lines), done.returncode, done.stdout
