"""The checkpoint that a stage resumes from, or the newest valid one of the run where it is damaged (S4).

pytest tests/unit/stages/test_current_checkpoint.py
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.helpers.checkpoint_files import flip_byte, write_ours
from tinyworlds_gate.checkpoints.layout import CheckpointRef, checkpoint_event
from tinyworlds_gate.errors import CheckpointError
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.stages import current_checkpoint
from tinyworlds_gate.stages.current_checkpoint import Recorded, StageCheckpoints

RUN = "run_1"
INPUTS: Any = {
    "video_tokenizer": SimpleNamespace(model_sha256="t" * 64),
    "latent_actions": SimpleNamespace(model_sha256="a" * 64),
}
LINEAGE = {"tokenizer_sha256": "t" * 64, "latent_actions_sha256": "a" * 64}


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    return RunLayout(tmp_path, RUN).create()


def of(layout: RunLayout, stage: str = "dynamics", **changes: Any) -> tuple[StageCheckpoints, list[str]]:
    said: list[str] = []
    fixed: dict[str, Any] = {"inputs": INPUTS, "start": None, "sizes": None, "say": said.append}
    return StageCheckpoints(layout, stage, **(fixed | changes)), said


def write(layout: RunLayout, step: int, stage: str = "dynamics", **manifest: Any) -> CheckpointRef:
    return write_ours(layout.checkpoints(stage), stage, step, manifest={"run": RUN, **LINEAGE, **manifest})


def recorded(layout: RunLayout, reference: CheckpointRef) -> Recorded:
    event = checkpoint_event(layout, reference)
    assert event is not None
    return event


def damage(reference: CheckpointRef) -> None:
    flip_byte(reference.path / "model_state_dict.pt", 2000)


@pytest.mark.requirement("S4")
def test_a_checkpoint_is_verified_once(layout: RunLayout) -> None:
    reference = write(layout, 9)
    checkpoints, _ = of(layout)
    assert checkpoints.resolve(None) is None
    assert checkpoints.record(None) is None
    event = checkpoints.record(reference)
    assert event == recorded(layout, reference)
    again, _ = of(layout)
    assert again.resolve(event) == reference
    damage(reference)
    assert checkpoints.resolve(event) is reference, "it was verified when it was recorded"
    assert again.resolve(event) == reference
    with pytest.raises(CheckpointError, match="SHA-256"):
        of(layout)[0].resolve(event)


@pytest.mark.requirement("S4")
def test_a_damaged_checkpoint_gives_way_to_the_newest_older_one(layout: RunLayout) -> None:
    older, newer, _ = write(layout, 3), write(layout, 9), write(layout, 10)
    event = recorded(layout, newer)
    damage(newer)
    checkpoints, said = of(layout)
    assert checkpoints.resolve_or_older(event) == older
    assert len(said) == 2
    assert said[0].startswith("dynamics: checkpoint dynamics_step_9 was refused: ")
    assert said[1].endswith("; update 3 is used instead")
    damage(older)
    checkpoints, said = of(layout)
    assert checkpoints.resolve_or_older(event) is None
    assert said[-1].startswith("dynamics: ")
    assert said[-1].endswith("; the run has no other")
    assert of(layout)[0].resolve_or_older(None) is None


@pytest.mark.requirement("S4")
def test_a_checkpoint_that_was_replaced_is_not_the_recorded_one(layout: RunLayout) -> None:
    reference = write(layout, 9)
    event = {**recorded(layout, reference), "sha256": "0123456789abcdef"}
    checkpoints, said = of(layout)
    expected = rf"dynamics_step_9 has weights of SHA-256 {reference.model_sha256[:12]}…, .* recorded 0123456789ab…: it"
    with pytest.raises(CheckpointError, match=expected):
        checkpoints.resolve(event)
    assert checkpoints.resolve_or_older(event) == reference
    assert said[0].endswith("; update 9 is used instead")


@pytest.mark.requirement("C4", "S4")
@pytest.mark.parametrize(
    ("stage", "manifest", "inputs", "used"),
    [
        ("dynamics", {}, INPUTS, True),
        ("dynamics", {"tokenizer_sha256": "x"}, INPUTS, False),
        ("dynamics", {"latent_actions_sha256": "x"}, INPUTS, False),
        ("dynamics", {"tokenizer_sha256": "x"}, {}, True),
        ("latent_actions", {"tokenizer_sha256": "x"}, INPUTS, True),
        ("dynamics", {"run": "another"}, INPUTS, False),
    ],
)
def test_only_dynamics_must_name_the_weights_it_was_trained_on(
    layout: RunLayout, stage: str, manifest: dict[str, Any], inputs: Any, used: bool
) -> None:
    start = write_ours(layout.project_root / "elsewhere", stage, 1)
    own = write(layout, 9, stage, **manifest)
    checkpoints, said = of(layout, stage, inputs=inputs, start=start)
    found, refused = checkpoints.newest_below(10)
    assert found == recorded(layout, own if used else start)
    assert checkpoints.resolve(found) is not None
    assert [one["path"] for one in refused] == ([] if used else [f"results/run_1/{stage}/checkpoints/{stage}_step_9"])
    assert said == [f"{stage}: checkpoint {stage}_step_9 was refused: {one['reason']}" for one in refused]
    assert checkpoints.newest_below(9) == (recorded(layout, start), [])


@pytest.mark.requirement("S4")
@pytest.mark.parametrize(("embed_dim", "used"), [(32, True), (64, False)])
def test_a_model_of_other_sizes_is_refused(layout: RunLayout, embed_dim: int, used: bool) -> None:
    write(layout, 9)
    found, refused = of(layout, sizes={"embed_dim": embed_dim})[0].newest_below(10)
    assert ((found is not None), len(refused)) == (used, int(not used))


def test_the_checkpoint_of_a_gate_is_protected(monkeypatch: pytest.MonkeyPatch, layout: RunLayout) -> None:
    kept: list[Any] = []
    monkeypatch.setattr(current_checkpoint, "keep_gated", lambda *args, **named: kept.append((args, named)))
    checkpoints, _ = of(layout)
    checkpoints.keep_for_gate(None)
    checkpoints.keep_for_gate({"path": "results/x"})
    assert kept == [(([layout.project_root / "results/x"], "stage"), {"run_root": layout.root})]
