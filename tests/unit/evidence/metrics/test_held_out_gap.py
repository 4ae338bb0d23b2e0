"""The held-out loss in the analysis: its numbers, its curve, and the advice where the gap to the training loss widens.

Run: pytest tests/unit/evidence/metrics/test_held_out_gap.py
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.image import imread

from tests.helpers import journal_samples as samples
from tests.helpers.journal_samples import STAMP
from tinyworlds_gate.evidence.metrics.analysis import analyse, analyse_stage
from tinyworlds_gate.evidence.metrics.held_out_gap import widening_gap
from tinyworlds_gate.evidence.metrics.history import (
    HELD_OUT_LOSS,
    LOSS,
    METRICS,
    History,
    Row,
    history_of_rows,
    write_history,
)
from tinyworlds_gate.evidence.metrics.inputs import StageInput
from tinyworlds_gate.reference.training import history as written
from tinyworlds_gate.reports.render import write_reports
from tinyworlds_gate.run.layout import RunLayout

UPDATES, EVERY = 400, 20
Curve = Callable[[float], float]


def falling(part: float) -> float:
    return 1.0 + 4.0 * math.exp(-6 * part)


def overfitted(part: float) -> float:
    """Falls until the middle, then rises by 30 %."""
    return falling(part) + 0.2 + max(0.0, part - 0.5) * 0.9


def made(held_out: Curve | None, training: Curve = falling, noise: float = 0.005, updates: int = UPDATES) -> History:
    rng = random.Random(4)
    rows: dict[int, Row] = {}
    for step in range(updates):
        part = step / (updates - 1)
        row: dict[str, float | None] = {LOSS: training(part) * rng.uniform(0.9, 1.1)}
        if held_out is not None and (step + 1) % EVERY == 0:
            row[HELD_OUT_LOSS] = held_out(part) * (1 + rng.gauss(0, noise))
        rows[step] = row
    return history_of_rows("dynamics", Path("history.csv"), rows)


def test_the_column_has_the_same_name_where_it_is_written_and_read() -> None:
    assert written.HELD_OUT_LOSS == HELD_OUT_LOSS
    assert HELD_OUT_LOSS in written.COLUMNS
    assert HELD_OUT_LOSS in METRICS


def test_a_held_out_loss_that_rises_while_the_training_loss_falls_is_named_with_its_update() -> None:
    gap = widening_gap(made(overfitted))
    assert gap is not None
    assert 160 <= gap.since <= 260
    assert gap.held_out[1] > gap.held_out[0] > gap.training[0] > gap.training[1]
    assert f"since update {gap.since}: held-out {gap.held_out[0]:.4g} to" in gap.sentence()


@pytest.mark.parametrize(
    ("history", "why"),
    [
        (made(None), "not measured"),
        (made(falling), "both fall"),
        (made(lambda part: falling(part) + 0.5), "a gap that stays"),
        (made(lambda part: 2.0, noise=0.05), "scatter"),
        (made(overfitted, noise=0.3), "more scatter than rise"),
        (made(overfitted, training=lambda part: falling(part) + 2 * max(0.0, part - 0.5)), "training diverges too"),
        (made(overfitted, updates=120), "too few values"),
        (made(lambda part: falling(part) + (0.5 if part > 0.96 else 0.0)), "one value at the end"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_nothing_is_said_where_the_gap_does_not_widen(history: History, why: str) -> None:
    assert widening_gap(history) is None
    assert analyse_stage(history, "h.csv", "local", ()).advice is None


def test_the_analysis_has_the_numbers_and_nulls_without_a_measurement() -> None:
    found = analyse_stage(made(overfitted), "h.csv", "local", ())
    assert found.held_out_losses == UPDATES // EVERY
    assert found.held_out_loss_min is not None
    assert found.held_out_loss_last is not None
    assert found.held_out_loss_min < found.held_out_loss_last
    assert 160 <= (found.held_out_min_step or 0) <= 260
    old = analyse_stage(made(None), "h.csv", "local", ())
    assert (old.held_out_losses, old.held_out_loss_last, old.held_out_min_step, old.advice) == (0, None, None, None)


@pytest.mark.requirement("A4")
@pytest.mark.parametrize("held_out", [overfitted, None], ids=["measured", "an old history"])
def test_the_curve_shows_both_losses_where_both_were_measured(
    tmp_path: Path, held_out: Curve | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tinyworlds_gate.evidence.metrics import plots

    titles: list[str] = []
    real = plots._over_updates

    def recorded(title: str, label: str) -> object:
        titles.append(title)
        return real(title, label)

    monkeypatch.setattr(plots, "_over_updates", recorded)
    history = made(held_out)
    path = tmp_path / "Logs" / "dynamics_history_run.csv"
    path.parent.mkdir()
    columns = {name: history.columns[name] for name in history.columns}
    write_history(path, {s: {name: columns[name][at] for name in columns} for at, s in enumerate(history.steps)})
    layout = RunLayout(tmp_path, "run")
    found = analyse(layout, "2026_01_02_03_04_05", "local_only", [StageInput("dynamics", path)], environment={})
    (plot,) = [plot for plot in found.plots if plot.endswith("dynamics_loss.png")]
    assert imread(tmp_path / plot).shape[1] > 900
    assert ("training and held-out loss" in titles[0]) == (held_out is not None)
    stage = json.loads((tmp_path / "docs/action/wandb-analysis-2026_01_02_03_04_05.json").read_text())["per_stage"][0]
    assert (stage["advice"] is not None) == (stage["held_out_losses"] > 0) == (held_out is not None)


@pytest.mark.requirement("A3")
def test_the_report_has_the_advice_and_an_analysis_without_it_is_shown_as_before(tmp_path: Path) -> None:
    run = samples.passing(tmp_path)
    path = tmp_path / "docs" / "action" / f"wandb-analysis-{STAMP}.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    assert "Advice" not in write_reports(run.root, run.folder)["A3"].read_text(encoding="utf-8")
    gap = widening_gap(made(overfitted))
    assert gap is not None
    measured = {"held_out_losses": 20, "held_out_loss_last": 1.9, "held_out_loss_min": 1.5, "held_out_min_step": 1199}
    data["per_stage"][2] |= {**measured, "advice": gap.sentence()}
    for key in (*measured, "advice"):
        data["per_stage"][0].pop(key)
    path.write_text(json.dumps(data), encoding="utf-8")
    text = write_reports(run.root, run.folder)["A3"].read_text(encoding="utf-8")
    assert text.count("**Advice:**") == 1
    section = " ".join(text[text.index("## dynamics") :].split())
    assert (
        "measured 20 times on clips that no stage trains on, is 1.9 at the end; its minimum is 1.5 after update 1199"
        in section
    )
    assert "The held-out loss rises while the training loss falls since update" in section
