"""The picture of an inference run: true frames, predictions and errors of one clip, and a chart of errors by step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from tinyworlds_gate.reference.rollout.mode import mode_text
from tinyworlds_gate.run.atomic import atomic_path
from tinyworlds_gate.run.drawing import plain_style
from tinyworlds_gate.run.paths import unused_path
from tinyworlds_gate.run.timestamps import timestamp

ERROR_SCALE = 0.5
"""Absolute error, with frames in [0, 1], that gets the brightest colour."""

INK, MUTED = "#1f2933", "#7b8794"


@plain_style()
def save_rollout_picture(
    folder: Path, frames_TCHW: Tensor, predicted_SHWC: np.ndarray, context: int, measures: dict[str, Any], clip: int
) -> Path:
    """Write ``inference_results_gt_vs_pred_<time>.png`` for one clip and return its path.

    Args:
        folder: folder of the pictures; it is created.
        frames_TCHW: the clip's true frames in [-1, 1], context first.
        predicted_SHWC: the generated frames, uint8.
        context: number of context frames.
        measures: the run's raw measures (all clips).
        clip: index of the shown clip among the measured ones.
    """
    from matplotlib.figure import Figure

    steps = len(predicted_SHWC)
    columns = min(context, 1) + min(steps, 8)
    shown = np.unique(np.linspace(0, steps - 1, min(steps, 8)).round().astype(int))
    figure = Figure(figsize=(1.75 * columns + 5.2, 6.4), layout="constrained", facecolor="white")
    left, right = np.asarray(figure.subfigures(1, 2, width_ratios=[1.75 * columns, 5.0])).tolist()
    _draw_strip(left, frames_TCHW, predicted_SHWC, context, shown)
    _draw_chart(right, measures)
    figure.suptitle(_headline(measures, clip), fontsize=11, color=INK)
    path = unused_path(folder, f"inference_results_gt_vs_pred_{timestamp()}", ".png")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)
    return path


def _headline(measures: dict[str, Any], clip: int) -> str:
    mse = np.mean([row["rollout_mse"] for row in measures["clips"]])
    copy = np.mean([row["copy_last_mse"] for row in measures["clips"]])
    own = np.mean(measures["clips"][clip]["rollout_mse"])
    return (
        f"{mode_text(measures)} rollout on {len(measures['clips'])} held-out clips: MSE {mse:.4f} "
        f"(copying the last frame: {copy:.4f})\nshown: the median clip, MSE {own:.4f}"
    )


def _draw_strip(area: Any, frames_TCHW: Tensor, predicted_SHWC: np.ndarray, context: int, shown: np.ndarray) -> None:
    axes = area.subplots(3, 1 + len(shown), squeeze=False)
    last_context = _to_image(frames_TCHW[context - 1])
    for row in range(3):
        axes[row][0].set_ylabel(("true", "predicted", "error")[row], fontsize=11, color=INK)
        for axis in axes[row]:
            axis.set_xticks([])
            axis.set_yticks([])
            for spine in axis.spines.values():
                spine.set_visible(False)
    axes[0][0].imshow(last_context, interpolation="nearest")
    axes[0][0].set_title("last context", fontsize=9, color=MUTED)
    axes[1][0].imshow(last_context, interpolation="nearest", alpha=0.35)
    axes[1][0].set_title("(given)", fontsize=9, color=MUTED)
    for column, step in enumerate(shown, start=1):
        true, predicted = _to_image(frames_TCHW[context + step]), predicted_SHWC[step]
        error = np.abs(true.astype(np.float32) - predicted.astype(np.float32)).mean(axis=-1) / 255.0
        axes[0][column].imshow(true, interpolation="nearest")
        axes[0][column].set_title(f"step {step + 1}", fontsize=9, color=INK)
        axes[1][column].imshow(predicted, interpolation="nearest")
        picture = axes[2][column].imshow(error, cmap="magma", vmin=0, vmax=ERROR_SCALE, interpolation="nearest")
    axes[2][0].imshow(np.ones((1, 1, 3)), aspect="auto")
    bar = area.colorbar(picture, ax=axes[2][0], location="left", fraction=0.9, aspect=12, pad=-0.6)
    bar.set_label("|true − predicted|", fontsize=8, color=MUTED)
    bar.ax.tick_params(labelsize=7)


def _draw_chart(area: Any, measures: dict[str, Any]) -> None:
    axis = area.subplots()
    steps = np.arange(1, measures["generation_steps"] + 1)
    lines = (
        ("rollout_mse", "model", "#0b69a3", "-", 2.4),
        ("random_action_mse", "model, random actions", "#0b69a3", ":", 1.4),
        ("copy_last_mse", "copy the last frame", "#c2410c", "-", 1.6),
        ("mean_frame_mse", "mean frame", MUTED, "--", 1.2),
    )
    for key, label, colour, style, width in lines:
        values = np.array([row[key] for row in measures["clips"]]).mean(axis=0)
        axis.plot(steps, values, style, color=colour, linewidth=width, label=label, marker="o", markersize=3)
    floor = np.mean([row["tokenizer_recon_mse"] for row in measures["clips"]])
    axis.axhline(floor, color="#2f855a", linewidth=1.2, linestyle="-.", label="tokenizer floor")
    axis.set_xlabel("generated step", color=INK)
    axis.set_ylabel("mean squared error, frames in [0, 1]", color=INK)
    axis.set_title("error by step, mean over clips", fontsize=10, color=INK)
    axis.set_ylim(bottom=0)
    axis.set_xticks(steps if len(steps) <= 12 else steps[:: len(steps) // 12 + 1])
    axis.grid(True, color="#e4e7eb", linewidth=0.8)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    axis.legend(fontsize=8, frameon=False, loc="best")


def _to_image(frame_CHW: Tensor) -> np.ndarray:
    image = ((frame_CHW.float() + 1) * 127.5).round().clamp(0, 255)
    return image.permute(1, 2, 0).numpy().astype(np.uint8)
