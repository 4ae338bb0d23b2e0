"""W&B's API as the analysis reads it: wandb's own client in its own process, against a server on loopback (L9).

Run: pytest tests/unit/evidence/metrics/test_wandb_api.py
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.helpers.process_projects import wait_for
from tests.helpers.wandb_server import ENTITY, KEY, PARQUET, PROJECT, ServedRun, WandbServer, serving
from tinyworlds_gate.evidence.metrics.history import LEARNING_RATE, LOSS, UNIQUE
from tinyworlds_gate.evidence.metrics.wandb_reader import Answered, Patience, ask
from tinyworlds_gate.evidence.metrics.wandb_rows import LoggedRun, RunAnswer
from tinyworlds_gate.run.layout import RunLayout

QUICK = Patience(timeout_s=2, stall_s=20, deadline_s=40)
WRONG_KEY = "wr0ngk3y" * 6


def live_rows(start: int, end: int) -> list[dict[str, object]]:
    """Rows as a stage logs them: the loss is whole at every fourth update and NaN at update 3."""
    losses = (math.nan if step == 3 else 5 - 0.25 * (step % 8) for step in range(start, end))
    return [
        {"_step": step, LOSS: loss, LEARNING_RATE: 5e-4, UNIQUE: 3, "_runtime": 0.5 * step, "media": {"_type": "image"}}
        for step, loss in enumerate(losses, start)
    ]


RUNS = {
    "live": ServedRun(live_rows(0, 40)),
    "exported": ServedRun(parquet=[PARQUET], last_step=39),
    "mixed": ServedRun(live_rows(40, 60), [PARQUET]),
    "long": ServedRun(live_rows(0, 12_000)),
    "unindexed": ServedRun(live_rows(0, 40), history_keys=False),
    "unindexed-exported": ServedRun(parquet=[PARQUET], history_keys=False),
    "second-chunk": ServedRun(live_rows(0, 60)),
    "broken": ServedRun(live_rows(0, 40), fault="500"),
    "half": ServedRun(live_rows(0, 40), fault="half"),
    "missing": ServedRun(fault="missing"),
    "empty": ServedRun(last_step=39),
}
ASKED = {"long": (0, 12_000), "mixed": (0, 60), "second-chunk": (40, 60)}


@dataclass(frozen=True)
class Asked:
    """What came, how long it took, and what the process said."""

    answered: Answered
    seconds: float
    log: str

    def run(self, name: str) -> RunAnswer:
        return self.answered.runs[name]

    def losses(self, name: str) -> list[float | None]:
        return [row.get(LOSS) for _, row in sorted(self.run(name).rows.items())]


def asked_for(root: Path, names: Sequence[str], patience: Patience = QUICK) -> Asked:
    layout = RunLayout(root, "run_1").create()
    runs = [LoggedRun(name, PROJECT, None, *ASKED.get(name, (0, 40))) for name in names]
    began = time.monotonic()
    answered = ask("api", runs, layout, patience)
    log = (layout.logs / "wandb_api.log").read_text(encoding="utf-8")
    return Asked(answered, time.monotonic() - began, log)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """All runs of a server, requested at once."""
    with pytest.MonkeyPatch.context() as patch, serving(WandbServer(RUNS)) as server:
        for name, value in server.environment().items():
            patch.setenv(name, value)
        yield asked_for(tmp_path_factory.mktemp("project"), list(RUNS))


def point_at(monkeypatch: pytest.MonkeyPatch, server: WandbServer, key: str = KEY) -> None:
    for name, value in server.environment(key).items():
        monkeypatch.setenv(name, value)


@pytest.mark.requirement("L9")
def test_live_rows_come_whole_and_as_floats(asked: Asked) -> None:
    losses = asked.losses("live")
    assert asked.run("live").problem is None
    assert asked.run("live").path == f"{ENTITY}/{PROJECT}/live"
    assert losses[4:9] == [4.0, 3.75, 3.5, 3.25, 5.0]
    assert {type(loss) for loss in losses} == {float}
    assert losses[3] is not None
    assert math.isnan(losses[3])
    assert asked.run("live").rows[5] == {LOSS: 3.75, LEARNING_RATE: 5e-4, UNIQUE: 3.0}, "only what stages log"


@pytest.mark.requirement("L9")
@pytest.mark.parametrize("name", ["exported", "unindexed-exported"])
def test_rows_that_lie_in_parquet_files_alone_are_read(asked: Asked, name: str) -> None:
    losses = asked.losses(name)
    assert asked.run(name).problem is None
    assert len(losses) == 40
    assert (losses[4], losses[5], losses[39]) == (0.5, 4.95, 4.61)
    assert math.isnan(losses[7] or 0.0)
    assert asked.run(name).rows[6].get(UNIQUE) is None, "a null is no zero"


@pytest.mark.requirement("L9")
def test_rows_half_exported_and_half_live_make_one_history(asked: Asked) -> None:
    losses = asked.losses("mixed")
    assert sorted(asked.run("mixed").rows) == list(range(60))
    assert (losses[39], losses[40], losses[59]) == (4.61, 5.0, 4.25)


@pytest.mark.requirement("L9")
def test_twelve_thousand_rows_come_page_by_page(asked: Asked) -> None:
    assert sorted(asked.run("long").rows) == list(range(12_000))


@pytest.mark.requirement("L9")
def test_rows_come_although_the_server_has_no_history_keys(asked: Asked) -> None:
    assert asked.losses("unindexed")[4:7] == asked.losses("live")[4:7]
    assert len(asked.losses("unindexed")) == 40


@pytest.mark.requirement("L9")
def test_of_a_chunks_run_only_the_chunks_updates_are_read(asked: Asked) -> None:
    assert sorted(asked.run("second-chunk").rows) == list(range(40, 60))


@pytest.mark.requirement("L9")
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("broken", r"HTTP 500: the rows are gone"),
        ("half", r"unexpected EOF"),
        ("missing", rf"Could not find run <Run {ENTITY}/{PROJECT}/missing"),
        ("empty", r"holds no row of these updates"),
    ],
)
def test_a_run_that_cannot_be_read_says_why_and_the_others_are_read(asked: Asked, name: str, told: str) -> None:
    assert asked.run(name).rows == {}
    assert told in (asked.run(name).problem or "")
    assert asked.answered.problem is None


@pytest.mark.requirement("L9")
def test_the_log_names_every_run_and_never_the_key(asked: Asked) -> None:
    assert f"{ENTITY}/{PROJECT}/long: 12000 rows; no problem" in asked.log
    assert "the rows are gone, api:[redacted]" in asked.log, "the server's message repeated the key"
    assert KEY not in asked.log + "".join(answer.problem or "" for answer in asked.answered.runs.values())


@pytest.mark.requirement("L9")
def test_a_wrong_key_is_reported_without_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(WandbServer(RUNS)) as server:
        point_at(monkeypatch, server, WRONG_KEY)
        found = asked_for(tmp_path, ["live"])
    assert found.answered.runs == {}
    assert f"Failed to verify credentials with {server.address}: nobody has the login api:[redacted]" in (
        found.answered.problem or ""
    )
    assert WRONG_KEY not in found.log


@pytest.mark.requirement("L9")
def test_without_any_key_the_sentence_says_how_to_give_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # no .netrc
    monkeypatch.delenv("NETRC", raising=False)
    with serving(WandbServer(RUNS)) as server:
        point_at(monkeypatch, server)
        monkeypatch.delenv("WANDB_API_KEY")
        found = asked_for(tmp_path / "project", ["live"])
    assert f"there is no key for {server.address}: set WANDB_API_KEY, or `wandb login`" in (
        found.answered.problem or ""
    )


@pytest.mark.requirement("L9")
def test_a_server_that_is_down_is_reported_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(WandbServer(RUNS)) as server:
        point_at(monkeypatch, server)
    found = asked_for(tmp_path, ["live"])
    assert found.answered == Answered({}, f"{server.address} cannot be reached: Connection refused")


@pytest.mark.requirement("L9")
def test_a_server_that_hangs_is_left_and_nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(WandbServer(RUNS, hang=True)) as server:
        point_at(monkeypatch, server)
        for deadline_s in (2, 10, 60):  # a busy machine needs more to ask at all
            patience = Patience(timeout_s=90, stall_s=90, deadline_s=deadline_s, per_1000_updates_s=0)
            found = asked_for(tmp_path, ["live"], patience)
            if server.queries:
                break
        wait_for(lambda: asking(server) == [], "the end of every process that asked")
    assert server.queries, "it was asked"
    assert found.answered == Answered({}, f"no whole answer came within {deadline_s} s")


@pytest.mark.requirement("L9")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("patience", "told"),
    [
        (Patience(timeout_s=2), "no answer came within 2 s"),
        (Patience(timeout_s=60, stall_s=2), "nothing came for 2 s"),
    ],
)
def test_the_process_gives_up_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience: Patience, told: str
) -> None:
    with serving(WandbServer(RUNS, hang=True)) as server:
        point_at(monkeypatch, server)
        found = asked_for(tmp_path, ["live"], patience)
    assert found.answered == Answered({}, told)
    assert found.seconds < 15


@pytest.mark.requirement("L9")
@pytest.mark.slow
def test_a_server_that_answers_500_to_all_is_reported_without_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(WandbServer(RUNS, broken=True)) as server:
        point_at(monkeypatch, server)
        found = asked_for(tmp_path, ["live"], Patience(timeout_s=10))
    assert "HTTP 500: the database is gone, api:[redacted]" in (found.answered.problem or "")


def asking(server: WandbServer) -> list[int]:
    """The living processes that were pointed at this server: the one that asks, and wandb's own."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            pointed = process.environ().get("WANDB_BASE_URL") == server.address
            if pointed and process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid():
                found.append(process.pid)
    return found
