"""`--checkpoint-policy latest` in a whole session: dynamics continues the newest checkpoint of an earlier run.

pytest tests/loop/test_latest_checkpoints.py -m slow
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.helpers.tiny_project import Session, run_pytest

WORDS = ("validation", "-m", "smoke", "--checkpoint-policy", "latest")


@pytest.mark.slow
@pytest.mark.requirement("P1", "H7", "H2", "C4")
def test_latest_goes_on_where_the_newest_run_ended_and_trains_no_complete_stage(
    passing: Session, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    shutil.copytree(passing.project, project, symlinks=True)
    before = passing.run.name
    further = run_pytest(project, *WORDS, "--dynamics-target-updates", "150", timeout_s=600.0)
    assert further.exit_status == 0, further.output
    run, [chunk] = further.run.name, further.events("chunk_started")
    checkpoint = f"results/{before}/dynamics/checkpoints/dynamics_step_119"
    assert (chunk["stage"], chunk["start_update"], chunk["resumed_from"]) == ("dynamics", 120, checkpoint)
    assert chunk["param_sources"]["learning_rate"] == "resumed checkpoint"
    assert f"--checkpoint-policy latest: dynamics starts from {checkpoint}" in further.output
    assert further.found("H7") == (
        "PASS",
        "1 chunk(s); continued at the absolute update: chunk 1 (dynamics) at update 120",
    )
    assert further.found("H2")[1].startswith("by choice (--checkpoint-policy latest)")
    complete = "video_tokenizer: not trained: the start has had 120 updates, the target is 120"
    assert further.found("S1") == ("NOT-RUN", f"no occasion: {complete}")
    assert further.found("C4")[0] == further.found("G2")[0] == "PASS"

    again = run_pytest(project, *WORDS, "--train-stage", "none", timeout_s=600.0)
    assert again.exit_status == 0, again.output
    used = again.events("inference_finished")[-1]["checkpoints"]
    assert used["dynamics"]["path"] == f"results/{run}/dynamics/checkpoints/dynamics_step_149"
    assert used["video_tokenizer"]["path"].startswith(f"results/{before}/")
    assert again.events("run_finished")[-1]["sentence"].startswith("PASS (no training): ")
