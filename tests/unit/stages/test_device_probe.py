"""The probe for device evidence: how many updates it takes, and what the journal says of it.

pytest tests/unit/stages/test_device_probe.py
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.launch.test_nodes import chunk
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.stages.device_probe import FEWEST_UPDATES, PROBE_SECONDS, probe_event, probe_layout, probe_updates


@pytest.mark.requirement("H6")
@pytest.mark.parametrize(
    ("updates", "wall_s", "updates_per_s", "expected"),
    [
        (100, 50.0, None, round(2 * PROBE_SECONDS)),
        (100, 0.5, None, round(200 * PROBE_SECONDS)),
        (100, 1.0, 3.0, round(3 * PROBE_SECONDS)),
        (100, 50.0, 0.0, round(2 * PROBE_SECONDS)),
        (100, 0.0, None, FEWEST_UPDATES),
        (100, 1000.0, None, FEWEST_UPDATES),
        (100, 1000.0, 1.07, round(1.07 * PROBE_SECONDS)),
    ],
)
def test_a_probe_trains_for_twenty_seconds_at_the_pace_of_the_chunk_before_it(
    updates: int, wall_s: float, updates_per_s: float | None, expected: int
) -> None:
    assert probe_updates(updates, wall_s, updates_per_s) == expected


def test_the_probe_of_each_chunk_has_a_scratch_run_of_its_own(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path, "run_1")
    scratch = probe_layout(layout, 7)
    assert scratch.root == layout.root / "probes" / "results" / "run_1-probe_007"
    assert scratch.history("dynamics").name != layout.history("dynamics").name
    assert probe_layout(layout, 8).root != scratch.root


@pytest.mark.requirement("H6")
def test_the_event_of_a_probe_that_failed_says_so(tmp_path: Path) -> None:
    well = probe_event(chunk(tmp_path), 40, {})
    assert (well["chunk"], well["updates"], well["cause"], well["exit_code"]) == (2, 40, "ok", 0)
    assert (well["dual_gpu_ok"], well["dual_gpu_reason"]) == (True, "2 GPUs busy together")
    assert (well["log"], well["device_samples"]) == (tmp_path / "chunk.log", tmp_path / "devices.jsonl")
    lost = probe_event(chunk(tmp_path, "out_of_memory", dual_gpu_ok=None, dual_gpu_reason="unknown"), 40, {})
    assert (lost["cause"], lost["exit_code"], lost["dual_gpu_ok"]) == ("out_of_memory", 1, None)
    assert lost["dual_gpu_reason"] == "unknown (the probe itself ended with out_of_memory)"


@pytest.mark.requirement("H6")
@pytest.mark.parametrize(
    ("trained_s", "own", "probe", "stands"),
    [
        (1.1, None, True, True),
        (2.99, None, True, True),
        (3.0, None, True, False),
        (60.0, None, True, False),
        (None, None, True, False),
        (1.1, False, True, False),
        (1.1, None, None, False),
        (1.1, None, False, False),
    ],
)
def test_a_probe_stands_for_a_chunk_that_was_too_short_to_be_sampled(
    tmp_path: Path, trained_s: float | None, own: bool | None, probe: bool | None, stands: bool
) -> None:
    end = {"trained_s": trained_s, "dual_gpu_ok": own}
    assert probe_event(chunk(tmp_path, dual_gpu_ok=probe), 40, end)["stands_for_chunk"] is stands
