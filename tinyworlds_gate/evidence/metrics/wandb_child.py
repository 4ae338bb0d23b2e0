"""Child process that uses wandb's client for the analysis (L9), so that a client that hangs cannot block the loop.

It reads the request from a JSON file and writes one line for each answer to another file. Output of wandb is dropped,
since it could contain the API key; this process removes the key from its own output.

python -P -m tinyworlds_gate.evidence.metrics.wandb_child REQUEST ANSWERS
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from tinyworlds_gate.evidence.metrics.wandb_api import NoWandbServerError, open_api, scan
from tinyworlds_gate.evidence.metrics.wandb_file import read_run
from tinyworlds_gate.evidence.metrics.wandb_rows import LoggedRun, RunAnswer
from tinyworlds_gate.run.redact import REDACTED, redact

LEAVE_S = 2.0
"""How long wandb may take to end its service before the process leaves without it."""


class Answers:
    """Writes the answers, and ends the process when W&B has been silent for `stall_s` seconds."""

    def __init__(self, path: Path, log: TextIO, stall_s: float) -> None:
        self._file, self._log, self._stall_s = path.open("w", encoding="utf-8"), log, stall_s
        self._lock, self._beat = threading.Lock(), time.monotonic()
        self.keys: set[str] = {os.environ.get("WANDB_API_KEY", "")}
        threading.Thread(target=self._watch, daemon=True).start()

    def beat(self) -> None:
        """Note that data arrived."""
        self._beat = time.monotonic()

    def write(self, run_id: str, answer: RunAnswer) -> None:
        """One run's answer, and a line of the log."""
        self.beat()
        with self._lock:
            self._line(RunAnswer(answer.path, answer.rows, self._clean(answer.problem)).as_line(run_id))
            self._say(f"{answer.path}: {len(answer.rows)} rows; {answer.problem or 'no problem'}")

    def give_up(self, problem: str) -> None:
        """Write the problem of all runs that have no answer yet."""
        with self._lock:
            self._line(json.dumps({"problem": self._clean(problem)}))
            self._say(problem)

    def _line(self, text: str) -> None:
        self._file.write(text + "\n")
        self._file.flush()

    def _say(self, text: str) -> None:
        print(self._clean(text), file=self._log, flush=True)

    def _clean(self, text: str | None) -> str | None:
        if text is None:
            return None
        for key in filter(None, self.keys):
            text = text.replace(key, REDACTED)
        return redact(text)

    def _watch(self) -> None:
        while (left := self._beat + self._stall_s - time.monotonic()) > 0:
            time.sleep(left)
        self.give_up(f"nothing came for {self._stall_s:g} s")
        os._exit(0)


def main(argv: Sequence[str] | None = None) -> None:
    """Answer one request (`wandb_reader.py` writes it) and leave."""
    request_path, answers_path = sys.argv[1:] if argv is None else argv
    request = json.loads(Path(request_path).read_text(encoding="utf-8"))
    runs = [LoggedRun(**run) for run in request["runs"]]
    answers = Answers(Path(answers_path), _quiet_log(), request["stall_s"])
    try:
        if request["source"] == "api":
            _ask_api(runs, answers, request["timeout_s"])
        else:
            for run in runs:
                answers.write(run.id, read_run([Path(folder) for folder in request["folders"]], run, answers.beat))
    except Exception as error:  # noqa: BLE001 - the parent process reports any error
        answers.give_up(f"{type(error).__name__}: {error}")
    _leave()


def _ask_api(runs: Sequence[LoggedRun], answers: Answers, timeout_s: float) -> None:
    try:
        api = open_api(timeout_s)
    except NoWandbServerError as error:
        answers.give_up(str(error))
        return
    answers.keys.add(api.api_key or "")
    for run in runs:
        answers.write(run.id, scan(api, run, answers.beat, timeout_s))


def _quiet_log() -> TextIO:
    """Return the process's output for our own lines; output of wandb and its service is dropped from now on."""
    log = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    return log


def _leave() -> None:
    """End without waiting for wandb: after a cancelled request its client can hang at the interpreter's end."""
    wandb: Any = sys.modules.get("wandb")
    teardown: Callable[[], None] | None = getattr(wandb, "teardown", None)
    if teardown is not None:
        thread = threading.Thread(target=teardown, daemon=True)
        thread.start()
        thread.join(LEAVE_S)
    os._exit(0)


if __name__ == "__main__":
    main()
