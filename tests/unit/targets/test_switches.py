"""The setting that switches a failing line on is read from the ``if`` around it.

pytest tests/unit/targets/test_switches.py
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.stand_in import set_config, write_sources
from tinyworlds_gate.targets.base import Target, TargetArguments
from tinyworlds_gate.targets.checkout import checkout_target
from tinyworlds_gate.targets.switches import switch_hint

SCRIPT = """\
enable_eval_loss = getattr(args, "enable_eval_loss", False)
for step in range(args.n_updates):
    if enable_eval_loss and step % args.log_interval == 0:
        for x in loader:
            values.append(loss.item())
    if args.use_wandb:
        wandb.log({})
        if config["draws"]:
            draw(x)
    train(step)
"""
PLACE = "checkout/scripts/train_dynamics.py"


@pytest.fixture
def target(tmp_path: Path) -> Target:
    root = write_sources(tmp_path / "checkout", "tinyworlds")
    (root / "scripts/train_dynamics.py").write_text(SCRIPT)
    set_config(root, "training", enable_eval_loss=True)
    set_config(root, "dynamics", draws=True)
    found = checkout_target(root)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (5, "`enable_eval_loss: true` (configs/training.yaml) holds"),
        (9, "`draws: true` (configs/dynamics.yaml) holds"),
        (7, None),
        (10, None),
        (3, None),
    ],
)
def test_the_innermost_setting_that_is_on_is_named(target: Target, line: int, said: str | None) -> None:
    hint = switch_hint(target, "dynamics", f"{PLACE}:{line}")
    assert hint is None if said is None else said in str(hint)


def test_a_setting_that_is_off_on_the_command_line_explains_nothing(target: Target) -> None:
    off = replace(target, arguments=TargetArguments(training={"enable_eval_loss": False}))
    assert switch_hint(off, "dynamics", f"{PLACE}:5") is None
    on = replace(target, arguments=TargetArguments(training={"enable_eval_loss": True}))
    assert "(--target-file) holds" in str(switch_hint(on, "dynamics", f"{PLACE}:5"))


@pytest.mark.parametrize("place", [None, "torch/nn/modules/module.py:7", f"{PLACE}:x", f"{PLACE}:9999"])
def test_a_line_that_is_not_the_checkout_s_explains_nothing(target: Target, place: str | None) -> None:
    assert switch_hint(target, "dynamics", place) is None
