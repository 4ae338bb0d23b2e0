"""Pure parts of a watch: durations, curve, staleness, pace, state, view.

python -m pytest tests/unit/watch/test_view.py
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.finding_events import event
from tests.helpers.watched_runs import GPUS, START, WatchedRun, long_run
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.watch.channels import Channel, file_channel, sample_channel, step_channel
from tinyworlds_gate.watch.curve import BARS, MAX_PARTS, Curve, resample, sparkline
from tinyworlds_gate.watch.durations import parse_duration
from tinyworlds_gate.watch.facts import Arrivals, Facts, WorkerBeat
from tinyworlds_gate.watch.pace import cpu_share, pace_of
from tinyworlds_gate.watch.reader import RunReader
from tinyworlds_gate.watch.state import RunState
from tinyworlds_gate.watch.view import View, view_of

pytestmark = pytest.mark.requirement("M4")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("4h", 14400), ("90m", 5400), ("30s", 30), ("1h30m", 5400), ("1.5h", 5400), (" 2D ", 172800), ("0.5s", 0.5)],
)
def test_a_duration_is_a_number_and_its_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "4", "h", "4 h", "4hours", "-4h", "4h;", "1e3s", "four"])
def test_an_invalid_duration_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is not a duration: write a number and its unit, such as 4h, 90m, 30s"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["0s", "0h", "31d", "9999h"])
def test_a_duration_is_positive_and_at_most_30_days(text: str) -> None:
    with pytest.raises(ConfigError, match=f"{text}' is not allowed: give more than 0 seconds and at most 30d"):
        parse_duration(text)


@given(st.lists(st.floats(0.001, 1e3), min_size=1, max_size=1200))
def test_a_curve_holds_every_loss_in_a_bounded_number_of_parts(losses: list[float]) -> None:
    curve = Curve()
    for update, loss in enumerate(losses):
        curve.add(update, loss)
    assert len(curve.parts) <= MAX_PARTS
    assert sum(part.count for part in curve.parts) == len(losses)
    assert math.isclose(sum(part.total for part in curve.parts), sum(losses), rel_tol=1e-9)
    firsts = [part.first for part in curve.parts]
    assert firsts == sorted(firsts)
    assert firsts[0] == 0
    values = resample(curve.parts, 40)
    assert len(sparkline(values)) == len(values) <= 40


def test_a_sparkline_falls_with_the_loss() -> None:
    assert sparkline([8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]) == BARS[::-1]
    assert sparkline([1000.0, 100.0, 10.0, 1.0]) == "█▆▃▁"  # logarithmic: each decade a step
    assert sparkline([0.5, 0.5]) == "▅▅"
    assert sparkline([]) == ""


@pytest.mark.requirement("M2")
def test_a_late_checkpoint_raises_an_alert_with_the_interval_so_far() -> None:
    times = (100.0, 220.0, 340.0)
    moves = Arrivals("step_9", 340.0, times)
    fine = file_channel("checkpoint", moves, 340.0 + 249.0, since=0.0, due_every_s=None)
    assert fine == Channel("checkpoint", "step_9", 249.0, 120.0, None)
    stale = file_channel("checkpoint", moves, 340.0 + 840.0, since=0.0, due_every_s=None)
    assert stale.problem == "no new checkpoint for 14 min, the interval so far was 2 min"


@pytest.mark.parametrize(
    ("moves", "now", "since", "due", "said"),
    [
        (Arrivals(), 250.0, 0.0, 120.0, None),
        (Arrivals(), 251.0, 0.0, 120.0, "no picture yet after 4 min, at this rate one was due after 2 min"),
        (Arrivals("a", -9.0), 251.0, 0.0, 120.0, "no picture yet after"),
        (Arrivals("a", 100.0, (100.0,)), 351.0, 0.0, 120.0, "no new picture for 4 min, at this rate one was due after"),
        (Arrivals(), 9999.0, 0.0, None, None),
        (Arrivals("a", 100.0, (100.0, 101.0)), 9999.0, None, None, None),
        (Arrivals("a", 100.0, (100.0, 101.0)), 50.0, 0.0, None, None),
    ],
)
def test_a_channel_is_stale_when_it_is_late_by_its_known_interval(
    moves: Arrivals, now: float, since: float | None, due: float | None, said: str | None
) -> None:
    found = file_channel("picture", moves, now, since=since, due_every_s=due)
    assert found.problem is None if said is None else said in (found.problem or "")
    assert found.age_s is None or found.age_s >= 0


@pytest.mark.parametrize(
    ("times", "now", "said"),
    [
        ((), 180.0, None),
        ((), 181.0, "no first step 3 min after the chunk was started"),
        ((50.0, 60.0), 109.0, None),
        ((50.0, 60.0), 111.0, "no new step for 51 s, they came every 10 s so far"),
        ((60.0,), 91.0, "no new step for 31 s"),
    ],
)
def test_workers_that_make_no_step_raise_an_alert(times: tuple[float, ...], now: float, said: str | None) -> None:
    assert step_channel(4, times, now, since=0.0).problem == said


def test_missing_device_samples_raise_an_alert() -> None:
    assert sample_channel(100.0, 145.0, since=0.0, interval_s=5.0).problem is None
    problem = sample_channel(100.0, 146.0, since=0.0, interval_s=5.0).problem
    assert problem == (
        "no device sample for 46 s, the harness takes one every 5.0 s: it was stopped, has died, or is busy"
    )
    assert sample_channel(None, 46.0, since=0.0, interval_s=5.0).problem is not None


def beats(*steps: int, every_s: float = 1.0, cpu: float = 0.5) -> tuple[WorkerBeat, ...]:
    moments = [every_s * number for number in range(len(steps))]
    return tuple(
        WorkerBeat(0, 1, "cpu", step, START + at, 50.0 + at, cpu * at) for step, at in zip(steps, moments, strict=True)
    )


def test_the_pace_is_that_of_the_slowest_worker_over_the_last_two_minutes() -> None:
    fast, slow = beats(*range(0, 4000, 10)), beats(*range(0, 1200, 3))
    found = pace_of({0: fast, 1: slow})
    assert (found.step, found.updates_per_s) == (1197, 3.0)
    changed = beats(*range(0, 1000, 10), *range(1000, 1200))
    assert pace_of({0: changed}).updates_per_s == 1.0
    assert pace_of({0: beats(5, 5, 5, 6)}).times == (START, START + 3.0)


@pytest.mark.parametrize("steps", [(), (-1,), (-1, -1, -1), (0,), (3, 3, 3)])
def test_no_rate_is_reported_before_two_steps(steps: tuple[int, ...]) -> None:
    assert pace_of({0: beats(*steps)} if steps else {}).updates_per_s is None


def test_the_cpu_share_is_that_of_the_last_half_minute() -> None:
    assert cpu_share(beats(*range(100), cpu=0.75)) == pytest.approx(0.75)
    assert cpu_share(beats(1)) is None


def seen(run: WatchedRun, now: float) -> View:
    snapshot = RunReader(run.layout).read()
    return view_of(snapshot.state, snapshot.facts, now)


def test_the_view_of_a_long_run_in_its_second_chunk_is_complete(tmp_path: Path) -> None:
    run, now = long_run(tmp_path)
    view = seen(run, now)
    assert view.headline == "training video_tokenizer for 7 min"
    assert view.alerts == ()
    assert [(line.stage, line.done, line.target, line.when) for line in view.stages] == [
        ("video_tokenizer", 6765, 40000, "now"),
        ("latent_actions", 0, 10000, "later"),
        ("dynamics", 0, 300000, "later"),
    ]
    chunk = view.chunk
    assert chunk is not None
    assert (chunk.number, chunk.start, chunk.done, chunk.end) == (2, 5000, 6765, 10000)
    assert chunk.updates_per_s == pytest.approx(4.2, rel=0.01)
    assert chunk.eta_chunk_s == pytest.approx((10000 - 6765) / 4.2, rel=0.01)
    assert chunk.eta_stage_s == pytest.approx((40000 - 6765) / 4.2, rel=0.01)
    assert [(gpu.index, gpu.name, gpu.util_pct, gpu.workers) for gpu in view.gpus] == [
        (0, "NVIDIA H200", 97.0, "rank 0"),
        (1, "NVIDIA H200", 96.0, "rank 1"),
    ]
    assert [(worker.rank, worker.updates) for worker in view.workers] == [(0, 6765), (1, 6765)]
    assert view.workers[0].cpu == pytest.approx(0.9)
    assert [channel.name for channel in view.channels] == [
        *("step", "history row", "checkpoint", "picture", "device sample")
    ]
    assert [channel.newest for channel in view.channels[1:4]] == ["update 6500", "step_6499", "step_6499.png"]
    assert view.channels[2].interval_s == 120.0
    assert view.verdicts == ("video_tokenizer: gate S1 says watch: The loss 0.013 is at most 0.02.",)


@pytest.mark.requirement("M1", "M2", "M3")
def test_a_stalled_run_raises_an_alert_for_each_channel(tmp_path: Path) -> None:
    run, now = long_run(tmp_path, stuck=True)
    view = seen(run, now)
    assert [alert.subject for alert in view.alerts] == [
        *("step", "history row", "checkpoint", "picture", "device sample")
    ]
    assert "no new checkpoint for 12 min, the interval so far was 2 min" in [alert.text for alert in view.alerts]
    assert view.chunk is not None
    assert (view.chunk.updates_per_s, view.chunk.eta_chunk_s) == (None, None)
    assert [gpu.util_pct for gpu in view.gpus] == [None, None]  # old samples and heartbeats give no current values
    assert [worker.cpu for worker in view.workers] == [None, None]


def state(*events: dict[str, Any]) -> RunState:
    numbered = [{"seq": number, "time": START + number, **one} for number, one in enumerate(events)]
    return RunState("run_1").after_all(numbered)


RUN = event("run_started", run="run_1", profile="smoke", machine={"gpus": GPUS})
CHUNK = event("chunk_started", chunk=1, stage="dynamics", start_update=0, end_update=60, target_updates=120, params={})


@pytest.mark.parametrize(
    ("events", "there", "headline"),
    [
        ((), False, "no journal yet: waiting for it"),
        ((), True, "waiting for the first event of its journal"),
        ((RUN,), True, "preparing for 30 s"),
        ((RUN, CHUNK), True, "training dynamics for 29 s, starting up"),
        ((RUN, CHUNK, event("chunk_finished", chunk=1, stage="dynamics", cause="ok")), True, "between two steps for"),
        ((RUN, event("inference_started", attempt=2, draw=2)), True, "inference, attempt 2, final draw for 29 s"),
        (
            (RUN, event("run_finished", status="failed", sentence="FAIL: too far.")),
            True,
            "ended 29 s ago (failed): FAIL: too far.",
        ),
    ],
)
def test_the_headline_is_one_sentence(events: tuple[dict[str, Any], ...], there: bool, headline: str) -> None:
    view = view_of(state(*events), Facts(journal_exists=there), START + 30.0)
    assert view.headline.startswith(headline)


def test_a_resumed_run_is_not_ended_any_more_and_its_open_chunk_is_closed() -> None:
    stopped = state(RUN, CHUNK, event("run_finished", status="interrupted", sentence="interrupted"))
    assert stopped.may_be_resumed
    killed = state(RUN, CHUNK)
    for before in (stopped, killed):
        again = before.after({"seq": 9, "time": START + 9, **RUN, "resumed": True})
        assert (again.phase, again.status, again.chunk) == ("preparing", None, None)
        assert again.started == START
        assert again.recent_events[-1][1] == "the run is resumed (profile smoke)"


def test_the_updates_of_a_stage_are_those_of_its_valid_checkpoint() -> None:
    done = event("chunk_finished", chunk=1, stage="dynamics", cause="ok", failure=None, checkpoint={"step": 59})
    assert state(RUN, CHUNK, done).stages["dynamics"].done == 60
    failure = {"cause": "out_of_memory", "reason": "CUDA out of memory"}
    failed = event("chunk_finished", chunk=1, stage="dynamics", cause="out_of_memory", failure=failure)
    assert state(RUN, CHUNK, {**failed, "continue_from": {"step": 29}}).stages["dynamics"].done == 30
    assert state(RUN, CHUNK, {**failed, "continue_from": None}).stages["dynamics"].done == 0


@pytest.mark.requirement("M3")
def test_an_invalid_chunk_raises_an_alert_until_the_next_one_trains() -> None:
    moved = {id: {"verdict": "PASS", "reason": "moved"} for id in ("M1", "M2")}
    channels = {**moved, "M3": {"verdict": "INVALID", "reason": "no new whole picture (PNG) appeared"}}
    invalid = event("chunk_finished", chunk=1, stage="dynamics", cause="ok", failure={"reason": "x"}, channels=channels)
    facts = Facts(journal_exists=True)
    (alert,) = view_of(state(RUN, CHUNK, invalid), facts, START + 5).alerts
    assert alert.text == "the last chunk is INVALID: M3: no new whole picture (PNG) appeared"
    assert view_of(state(RUN, CHUNK, invalid, CHUNK), facts, START + 5).alerts == ()


def test_events_of_a_later_version_change_nothing() -> None:
    assert state(RUN, event("something_new", stage="dynamics")).stages == state(RUN).stages
