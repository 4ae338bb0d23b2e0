"""The page and the log lines of a watch.

python -m pytest tests/unit/watch/test_page.py
"""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from tests.helpers.commands import REPOSITORY
from tests.helpers.finding_events import event
from tests.helpers.watched_runs import START, WatchedRun, long_run
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.watch.event_lines import event_sentence
from tinyworlds_gate.watch.facts import Facts
from tinyworlds_gate.watch.page import page
from tinyworlds_gate.watch.plain import Line, LogLines, info_lines, status_line
from tinyworlds_gate.watch.reader import RunReader
from tinyworlds_gate.watch.state import RunState
from tinyworlds_gate.watch.view import Alert, View, view_of

pytestmark = pytest.mark.requirement("M4")

FACTS = Facts(journal_exists=True)


def rendered(view: View, width: int, height: int | None = None, *, charset: str = "utf-8", colour: bool = False) -> str:
    """Return the page for a terminal of this size and character set."""
    terminal = io.TextIOWrapper(io.BytesIO(), encoding=charset)
    console = Console(
        file=terminal,
        force_terminal=True,
        width=width,
        color_system="standard" if colour else None,
        markup=False,
        emoji=False,
    )
    console.print(page(view, width, height, ascii_only=console.options.ascii_only))
    terminal.flush()
    assert isinstance(terminal.buffer, io.BytesIO)
    return terminal.buffer.getvalue().decode(charset)


@pytest.fixture(scope="module")
def working(tmp_path_factory: pytest.TempPathFactory) -> View:
    run, now = long_run(tmp_path_factory.mktemp("working"))
    return seen(run, now)


@pytest.fixture(scope="module")
def stuck(tmp_path_factory: pytest.TempPathFactory) -> View:
    run, now = long_run(tmp_path_factory.mktemp("stuck"), stuck=True)
    return seen(run, now)


def seen(run: WatchedRun, now: float) -> View:
    snapshot = RunReader(run.layout).read()
    return view_of(snapshot.state, snapshot.facts, now)


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_page_shows_everything_within_any_width_from_60_columns_on(width: int, working: View) -> None:
    text = rendered(working, width)
    assert max(map(len, text.splitlines())) <= width
    for shown in (
        "Training video_tokenizer for 7 min",
        *STAGES,
        "6765 of 40000 updates",
        "chunk 2 (planned): update 6765 of 10000, 4.2 updates/s",
        "chunk 13 min, stage 2 h 12 min",
        "35 %",
        "█",
        "checkpoint",
        "step_6499.png",
        "97 %",
        "31.4 of 140 GiB",
        "rank 1",
        "gate S1 says watch",
        "frames ready: ZELDA",
    ):
        assert shown in text, shown
    assert ("NVIDIA H200" in text) == (width > 60)


def test_on_24_rows_only_the_events_are_omitted(working: View) -> None:
    text = rendered(working, 80, 24)
    assert len(text.splitlines()) <= 24
    for shown in ("4.2 updates/s", "device sample", "gate S1 says watch", "96 %", "rank 1"):
        assert shown in text
    assert "frames ready" not in text


def test_without_colour_a_stale_channel_is_still_marked_in_text(stuck: View) -> None:
    text = rendered(stuck, 80)
    assert "\x1b" not in text
    assert "! no new checkpoint for 12 min, the interval so far was 2 min" in text
    assert len(re.findall(r"STALE", text)) == 5
    assert "\x1b[1;31m" in rendered(stuck, 80, colour=True)


def test_a_terminal_without_unicode_gets_ascii_only(stuck: View, working: View) -> None:
    """Such a terminal cannot display any other character."""
    for view, width in ((stuck, 60), (working, 60), (working, 120)):
        assert "6765 of 40000 updates" in rendered(view, width, charset="ascii")


def test_the_text_of_a_journal_is_shown_as_it_is_and_no_control_character_or_secret_reaches_the_terminal() -> None:
    key = "hf_" + "a1B2c3D4" * 4
    hostile = f"[red]bold[/red] \x1b[2Jcleared\r\nnext \u202etxt {key} :smile:"
    gate = event("stage_gate", stage="dynamics", id="S3", decision="watch", reason=hostile)
    started = event("run_started", run="a\x1b]0;b", profile="p\x07", machine={})
    state = RunState("r").after_all([{"seq": n, "time": START, **e} for n, e in enumerate((started, gate))])
    view = view_of(state, FACTS, START)
    texts = [rendered(view, 120), str(status_line(view)), *info_lines(view), str(LogLines(1.0).lines(view, []))]
    assert "[red]bold[/red] ?[2Jcleared next ?txt [redacted] :smile:" in texts[0]
    for text in texts:
        assert key not in text
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", text)


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (event("run_finished", status="failed", sentence="FAIL: x."), "the run has ended (failed): FAIL: x."),
        (event("interrupted", reason="Ctrl-C"), "interrupted: Ctrl-C"),
        (
            event("retune", stage="dynamics", id="T4", reason="lower", changes={"learning_rate": [0.5, 0.1]}),
            "dynamics: T4: lower (learning_rate 0.5 -> 0.1)",
        ),
        (
            event("gate_verdict", attempt=2, draw=2, verdict="PASS", sentence="PASS: near."),
            "attempt 2, final draw: PASS: near.",
        ),
        (event("gate_verdict", attempt=1, verdict="FAIL", sentence="too far"), "attempt 1: FAIL: too far"),
        (
            event("verdict_picture", attempt=1, picture="inference_results/p.png"),
            "picture of the verdict of attempt 1: inference_results/p.png",
        ),
        (
            event("verdict_picture", attempt=1, picture=None, problem="OSError: x"),
            "picture of the verdict of attempt 1: not drawn: OSError: x",
        ),
        (
            event("chunk_finished", chunk=2, stage="dynamics", cause="ok", failure={"reason": "no picture"}),
            "chunk 2 of dynamics does not count: no picture",
        ),
        (
            event("chunk_finished", chunk=2, stage="dynamics", cause="interrupted"),
            "chunk 2 of dynamics was interrupted",
        ),
        (
            event("checkpoint_refused", stage="dynamics", used={"step": 4}),
            "dynamics: a checkpoint was refused; update 4 is used instead",
        ),
        (event("stale_processes", ended=[]), None),
        (event("beyond_the_gate", kind="horizon", problem=None, sentences=["26 steps.", "x"]), "horizon: 26 steps."),
        (event("beyond_the_gate", kind="policies", problem="no emulator", sentences=[]), "policies: no emulator"),
        (event("report_written", id="A1"), None),
        (event("chunk_started"), "chunk None of None started: updates None to None of None (None), learning rate ?"),
    ],
)
def test_an_event_is_described_in_one_line(one: dict[str, object], said: str | None) -> None:
    shown = event_sentence(one)
    assert shown is None if said is None else (shown or "").startswith(said)


def test_every_event_of_a_run_has_a_line_or_is_known_to_have_none() -> None:
    page = (REPOSITORY / "docs" / "journal.md").read_text(encoding="utf-8")
    names = re.findall(r"^### `([a-z_]+)`$", page, re.MULTILINE)
    silent = {
        name for name in names if event_sentence({"event": name, "attempt": 1, "ended": [{}], "sentence": "x"}) is None
    }
    assert "gate_verdict" in names
    assert silent == {
        *(
            "settings_resolved",
            "config_checked",
            "checkpoints_checked",
            "inference_finished",
            "probe_finished",
            "earlier_verdicts",
            "requirement",
            "report_written",
        ),
        "target_inference_finished",
    }


def test_log_lines_report_events_at_once_and_the_status_every_minute() -> None:
    log_lines = LogLines(60.0)
    before = [{"seq": 0, "time": START, **event("run_started", run="r", profile="smoke", machine={})}]
    state = RunState("r").after_all(before)
    kinds = [[line.kind for line in log_lines.lines(view_of(state, FACTS, START + at), before)] for at in (0.0,)]
    assert kinds == [["STATUS"]]  # what happened before the watch is not shown again
    gate = {"seq": 1, "time": START + 20, **event("interrupted", reason="x")}
    assert [str(line)[21:] for line in log_lines.lines(view_of(state, FACTS, START + 20), [gate])] == [
        "EVENT   interrupted: x"
    ]
    assert log_lines.lines(view_of(state, FACTS, START + 59), []) == []
    assert [line.kind for line in log_lines.lines(view_of(state, FACTS, START + 60), [])] == ["STATUS"]


def test_an_alert_is_logged_when_it_begins_and_when_it_is_over(working: View) -> None:
    log_lines = LogLines(1e9)
    log_lines.lines(working, [])
    older = [Alert("checkpoint", f"no new checkpoint for {minutes} min") for minutes in (12, 13)]
    shown = [
        [(line.kind, line.text) for line in log_lines.lines(replace(working, alerts=alerts), [])]
        for alerts in ((older[0],), (older[1],), ())
    ]
    assert shown == [
        [("ALERT", "no new checkpoint for 12 min")],
        [],
        [("OVER", "checkpoint: no longer so: no new checkpoint for 13 min")],
    ]


def test_a_status_line_has_all_important_values(stuck: View) -> None:
    line = str(status_line(stuck))
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  STATUS  video_tokenizer, chunk 2, update 6765 of 10000", line)
    assert "checkpoint 12 min ago (STALE)" in line
    assert "\n" not in line


def test_an_ended_run_gets_idle_lines() -> None:
    for state, kind in (
        (RunState("r"), "IDLE"),
        (RunState("r", phase="ended"), "IDLE"),
        (RunState("r", "x"), "STATUS"),
    ):
        assert status_line(view_of(state, FACTS, START)).kind == kind
    assert str(Line(START, "OVER", "x")).endswith("  OVER    x")
