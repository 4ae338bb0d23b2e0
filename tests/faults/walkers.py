"""A project whose stage is a light process with heartbeats and a fault at a given update.

It is the program of ``fake_stages.py`` behind a few lines: a life's plan may also hold ``seconds_per_update``, ``at``
and ``do`` (an update, and the code that the process itself runs before it), and ``before`` (code at the very start).
Only the process is hit; the harness around it is the real one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.faults.conftest import BeginScene
from tests.faults.runs import begin_journal, hold_at_every_word
from tests.helpers.fake_stages import PROGRAM, FakeProject, fake_project
from tests.helpers.process_projects import wait_for
from tinyworlds_gate.config.load import resolve_settings
from tinyworlds_gate.run.heartbeat import Beat, HeartbeatReader

STAGE = "video_tokenizer"

WALK = """
import os, resource, signal, subprocess
from tinyworlds_gate.run.heartbeat import Heartbeat
heartbeat = None

def walk(update):
    global heartbeat
    if heartbeat is None:
        exec(plan.get("before", ""), globals())
        heartbeat = Heartbeat.from_environment(0)
    time.sleep(plan.get("seconds_per_update", 0))
    if update == plan.get("at"):
        exec(plan["do"], globals())
    heartbeat.beat(update, force=True)
"""
_LOOP = "for update in range(start, end):\n"


def walking_project(
    root: Path,
    scene: BeginScene | None,
    *,
    stall_s: float = 60.0,
    deadline_s: float = 60.0,
    inference_deadline_s: float = 60.0,
    **keywords: Any,
) -> FakeProject:
    """Create a ``fake_project`` (same keywords) with that program, polled every 0.5 s, with an optional scene."""
    project = fake_project(root, STAGE, **keywords)
    assert _LOOP in PROGRAM
    for path in project.context.target.stage_scripts.values():
        path.write_text(PROGRAM.replace(_LOOP, f"{WALK}\n{_LOOP}    walk(update)\n"))
    settings = project.context.settings
    profile = settings.config_dir / "profile.yaml"
    values = yaml.safe_load(profile.read_text())
    values["watchdog"] = {
        "stall_s": stall_s,
        "chunk_deadline_s": deadline_s,
        "inference_deadline_s": inference_deadline_s,
    }
    profile.write_text(yaml.safe_dump(values))
    project.context.settings = resolve_settings(settings.config_dir, {"monitor_interval_sec": 0.5}, project_root=root)
    begin_journal(project.context)
    if scene is not None:
        hold_at_every_word(project.context, scene(root, project.context.target.stage_script(STAGE)))
    return project


def when_said(project: FakeProject, word: str, act: Callable[[], object]) -> None:
    """Call a function once, when the loop prints a line that contains ``word``."""
    say, done = project.context.say, threading.Event()

    def say_and_act(sentence: str) -> None:
        say(sentence)
        if word in sentence and not done.is_set():
            done.set()
            act()

    project.context.say = say_and_act


@contextmanager
def while_it_walks(project: FakeProject, act: Callable[[], object], *, chunk: int = 1) -> Iterator[None]:
    """Call ``act`` from another thread after the first step of the chunk's process."""
    problems: list[BaseException] = []

    def watch() -> None:
        try:
            wait_for(lambda: any(beat.step >= 0 for beat in beats_of(project, chunk)), "the chunk's first step")
            act()
        except BaseException as problem:  # noqa: BLE001 - raised below, in the test's own thread
            problems.append(problem)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    if problems:
        raise problems[0]


def beats_of(project: FakeProject, chunk: int = 1) -> list[Beat]:
    """Return the heartbeats of the chunk's process so far."""
    return HeartbeatReader(project.context.layout.chunk_heartbeats(chunk)).poll()
