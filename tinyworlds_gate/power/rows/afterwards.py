"""Defects that change a run after its PASS."""

from __future__ import annotations

import json
from pathlib import Path

from tinyworlds_gate.power.rows.build import DYNAMICS, OTHER_VERDICT, after, setting
from tinyworlds_gate.power.weight_changes import changed, noisy


def _measures(root: Path) -> Path:
    return next(path for path in (root / "results").glob("power_*/measures_01.json"))


def _edit_measures(root: Path) -> None:
    path = _measures(root)
    content = json.loads(path.read_text())
    for clip in content["clips"]:
        clip["rollout_mse"] = [value / 2 for value in clip["rollout_mse"]]
    path.write_text(json.dumps(content), encoding="utf-8")


def _edit_log(root: Path) -> None:
    path = _measures(root).parent / "logs" / "inference_01.log"
    lines = path.read_text().splitlines()
    kept = [
        "Mean Squared Error (GT vs Pred): 0.00010000" if line.startswith("Mean Squared Error (GT") else line
        for line in lines
    ]
    path.write_text("\n".join(kept) + "\n", encoding="utf-8")


def _remove_picture(root: Path) -> None:
    for path in (root / "inference_results").glob("inference_results_gt_vs_pred_*.png"):
        path.unlink()


def _other_frames(root: Path) -> None:
    from tinyworlds_gate.power.world import GAME, write_world

    write_world(root / "data" / f"{GAME.lower()}_frames.h5", seed=1)


AFTERWARDS = (
    after(
        "threshold-raised",
        "max_mse is raised after the verdict",
        "binding",
        "thresholds.max_mse",
        setting("profile", thresholds={"max_mse": 0.3}),
    ),
    after(
        "threshold-dropped",
        "skill is no longer required",
        "binding",
        "require_skill",
        setting("profile", thresholds={"require_skill": False}),
    ),
    after(
        "steps-changed",
        "fewer generated frames are configured after the verdict",
        "binding",
        "generation_steps was 6",
        setting("inference", generation_steps=2),
    ),
    after(
        "retrained-since",
        "dynamics is trained further after the verdict",
        "binding",
        "the dynamics weights had SHA-256",
        changed(DYNAMICS, noisy(0.01)),
    ),
    after(
        "frames-changed-since",
        "the frames file changes after the verdict",
        "binding",
        "the frames file had SHA-256",
        _other_frames,
    ),
    after("measures-edited", "the measures are edited after the verdict", "files", OTHER_VERDICT, _edit_measures),
    after("log-edited", "the log is edited after the verdict", "files", OTHER_VERDICT, _edit_log),
    after(
        "picture-removed",
        "the picture is deleted after the verdict",
        "files",
        "the picture inference_results_gt_vs_pred_.* is gone",
        _remove_picture,
    ),
)
