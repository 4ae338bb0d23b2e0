"""Every defect, in the order of docs/gate-power.md: models, rollout, clips, frames, metric, log, files, afterwards."""

from __future__ import annotations

from tinyworlds_gate.power.defect import Defect
from tinyworlds_gate.power.rows.afterwards import AFTERWARDS
from tinyworlds_gate.power.rows.clips import CLIPS, FRAMES
from tinyworlds_gate.power.rows.evidence import FILES, LOG, METRIC
from tinyworlds_gate.power.rows.models import MODELS, SWAPS
from tinyworlds_gate.power.rows.rollouts import ROLLOUT

LIMITS = (
    Defect(
        "blurred",
        "a model that answers each frame's average colour",
        "rollout",
        "FAIL",
        "G5",
        "",
        in_child="blurred",
    ),
)
"""What the rule does not see, measured and told in docs/gate-power.md: no defects of the table, and no passes of it."""

DEFECTS: tuple[Defect, ...] = (*MODELS, *SWAPS, *ROLLOUT, *CLIPS, *FRAMES, *METRIC, *LOG, *FILES, *AFTERWARDS)
