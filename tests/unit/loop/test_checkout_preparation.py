"""Before a checkout is started, and before each launch: its files, its frames, its packages, its folders.

pytest tests/unit/loop/test_checkout_preparation.py
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.checkout_runs import STAMP, checkout_run
from tinyworlds_gate.errors import ConfigError, DataError
from tinyworlds_gate.loop.checkout import begin_checkout, require_ready
from tinyworlds_gate.loop.checkout_data import prepare_checkout_data
from tinyworlds_gate.loop.evidence import analyse_metrics
from tinyworlds_gate.loop.run_inputs import check_inputs
from tinyworlds_gate.run.journal import events_of


def test_a_checkout_that_is_changed_during_the_run_stops_before_the_next_launch(tmp_path: Path) -> None:
    context = checkout_run(tmp_path, "tinyworlds-fork")
    check_inputs(context)
    (context.target.root / "utils/stage.py").write_text("# another\n")
    with pytest.raises(
        DataError, match=r"was changed during the run: utils/stage\.py was changed\. Only results/, .* may change"
    ):
        check_inputs(context)


def test_a_resumed_run_refuses_a_checkout_that_is_another_by_now(tmp_path: Path) -> None:
    context = checkout_run(tmp_path, "tinyworlds-fork")
    begin_checkout(context, {})
    (context.target.root / "configs/dynamics.yaml").write_text("learning_rate: 1.0\n")
    with pytest.raises(ConfigError, match=r"is not what the run was started with: configs/dynamics\.yaml was changed"):
        begin_checkout(context, {})


@pytest.mark.requirement("G5")
def test_held_out_clips_that_the_checkout_trains_on_stop_the_run_before_anything_trains(tmp_path: Path) -> None:
    context = checkout_run(tmp_path, "tinyworlds-fork")
    assert context.checkout is not None
    data = context.target.root / "data"
    prepare_checkout_data(context, context.checkout)
    ready = events_of(context.journal.events(), "dataset_ready")[-1]
    assert (ready["training_path"], ready["path"]) == ("data/bars_frames.h5", "data/bars_held_out_frames.h5")
    assert (ready["held_out_clips"], ready["held_out_episodes"]) == (64, 15)
    context.checkout.held_out_option = tmp_path / "checkout_all_frames.h5"
    with pytest.raises(DataError, match=r"of \d+ clips drawn from .* stand in .*bars_frames\.h5, frame by frame"):
        prepare_checkout_data(context, context.checkout)
    (data / "bars_held_out_frames.h5").unlink()
    context.checkout.held_out_option = None
    prepare_checkout_data(context, context.checkout)
    assert context.checkout.no_trusted_gate is not None
    assert "no held-out frames: the stages train on all of bars_frames.h5" in context.checkout.no_trusted_gate


def test_a_missing_frames_file_is_reported_with_the_setting_that_names_it(tmp_path: Path) -> None:
    context = checkout_run(tmp_path, "tinyworlds-fork")
    assert context.checkout is not None
    (context.target.root / "data/bars_frames.h5").unlink()
    with pytest.raises(
        DataError, match=r"bars_frames\.h5: there is no such file; .*`dataset: BARS` in .*training\.yaml"
    ):
        prepare_checkout_data(context, context.checkout)


def test_a_package_that_is_missing_stops_the_run_with_the_pip_line(tmp_path: Path) -> None:
    context = checkout_run(tmp_path, "tinyworlds-fork")
    for name in ("datasets/clips.py", "models/world.py", "utils/stage.py"):
        (context.target.root / name).write_text("import cv2_absent\n")
    (context.target.root / "scripts/run_inference.py").write_text("import yaml\n")
    with pytest.raises(
        ConfigError, match=r"cannot import 1 package\(s\) that the checkout needs: cv2_absent .* pip install"
    ):
        require_ready(context)
    assert events_of(context.journal.events(), "target_preflight")[-1]["missing"].keys() == {"cv2_absent"}


def test_a_checkout_whose_folders_cannot_be_written_is_refused(tmp_path: Path) -> None:
    context = checkout_run(tmp_path, "tinyworlds-fork")
    (context.target.root / "inference_results").rmdir()
    (context.target.root / "inference_results").touch()
    with pytest.raises(ConfigError, match=r"writes to .*inference_results, and that is not possible"):
        require_ready(context)


@pytest.mark.requirement("L9")
def test_a_checkout_that_logs_fewer_rows_than_updates_can_be_analysed(tmp_path: Path) -> None:
    context = checkout_run(tmp_path, "tinyworlds-fork", wandb_source="local_only")
    rows = [f"{step},{1 / (step + 1)}" for step in range(0, 20, 5)]
    context.layout.history("latent_actions").write_text("\n".join(["_step,train/loss", *rows]) + "\n")
    context.journal.append("chunk_started", stage="latent_actions", chunk=1, start_update=0, end_update=20, wandb=None)
    context.journal.append("stage_finished", stage="latent_actions", updates=20)
    analysis = analyse_metrics(context, STAMP, ["latent_actions"])
    assert analysis is not None
    assert analysis.verdict == "PASS", analysis.reason
