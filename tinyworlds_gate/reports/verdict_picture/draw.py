"""The picture of each verdict: drawn by the harness after the verdict, and never a reason for it.

A picture that cannot be drawn is journalled and reported; it does not change the verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tinyworlds_gate.errors import DiskError, GateError
from tinyworlds_gate.names import EVALUATION, FINALS
from tinyworlds_gate.reports.verdict_picture.captions import plain
from tinyworlds_gate.run.attempts import attempt_name, attempt_of
from tinyworlds_gate.run.journal import Event, Journal, events_of, last_event
from tinyworlds_gate.run.layout import RunLayout


def draw_verdicts(layout: RunLayout, journal: Journal, profile: str, say: Callable[[str], None]) -> None:
    """Draw the verdicts that have no picture yet: the newest, and on resume those of a harness that was killed."""
    events = journal.events()
    drawn = {attempt_of(event) for event in events_of(events, "verdict_picture")}
    for verdict in events_of(events, "gate_verdict"):
        if attempt_of(verdict) not in drawn:
            _draw(layout, journal, profile, say, events, verdict)


def verdict_picture(layout: RunLayout, number: int, draw: int) -> Path:
    """Where the picture of an attempt's verdict lies; its name is not the one that G4 looks for."""
    return layout.inference_results / f"gate_verdict_{number:02d}{'_final' if draw in FINALS else ''}_{layout.run}.png"


def film_strip(layout: RunLayout, number: int, draw: int) -> Path:
    """Where the median clip of an attempt lies, its film strip alone."""
    name = verdict_picture(layout, number, draw).name
    return layout.inference_results / name.replace("gate_verdict_", "film_strip_", 1)


def _draw(
    layout: RunLayout,
    journal: Journal,
    profile: str,
    say: Callable[[str], None],
    events: Sequence[Event],
    verdict: Event,
) -> None:
    number, draw = attempt_of(verdict)
    path = verdict_picture(layout, number, draw)
    left_out: Sequence[str] = ()
    problem = strip = None
    try:
        left_out, strip = _drawn(layout, profile, events, verdict, path)
    except Exception as error:  # noqa: BLE001 - a picture only shows the verdict: no defect of it may change or hide it
        problem = plain(_inside(layout.project_root, f"{type(error).__name__}: {error}"))
    picture = path if problem is None else None
    name = attempt_name(number, draw)
    try:
        journal.append(
            "verdict_picture",
            attempt=number,
            draw=draw,
            picture=picture,
            film_strip=strip,
            left_out=left_out,
            problem=problem,
        )
    except DiskError as error:  # the next step of the loop meets the same disk, and stops as it does at any other time
        say(f"the picture of the verdict of {name} is not in the journal: {error}")
        return
    if picture is None:
        say(f"the picture of the verdict of {name} could not be drawn ({problem}); the verdict is unchanged")
    else:
        say(f"picture of the verdict of {name}: {layout.relative(picture)}")


def _drawn(
    layout: RunLayout, profile: str, events: Sequence[Event], verdict: Event, path: Path
) -> tuple[Sequence[str], Path | None]:
    """Draw one verdict; returns what could not be shown, and why, and the film strip, if there is one."""
    from tinyworlds_gate.reports.verdict_picture.data import Strip, read_strips, verdict_view
    from tinyworlds_gate.reports.verdict_picture.figure import save_film_strip, save_picture

    root = layout.project_root
    ended = [event for event in events_of(events, "inference_finished") if attempt_of(event) == attempt_of(verdict)]
    finished = ended[-1] if ended else {}
    ready = last_event(events, "dataset_ready") or {}
    dataset = (ready.get("evaluation") or {}) if attempt_of(verdict)[1] == EVALUATION else ready
    strips: list[Strip] = []
    problem = ""
    try:
        if not finished.get("measures_file") or not dataset.get("path"):
            raise GateError("the journal names no measures and no frames for it")
        strips = read_strips(root / finished["measures_file"], root / dataset["path"])
    except GateError as error:
        problem = _inside(root, str(error))
    shown: dict[str, Any] = {**verdict, "sentence": _inside(root, str(verdict["sentence"]))}
    view = verdict_view(shown, layout.run, profile, strips, problem)
    save_picture(view, path)
    strip_path = film_strip(layout, *attempt_of(verdict))
    return view.left_out, strip_path if save_film_strip(view, strip_path) else None


def _inside(root: Path, text: str) -> str:
    """Paths as they are named in the project."""
    return text.replace(f"{root}/", "")
