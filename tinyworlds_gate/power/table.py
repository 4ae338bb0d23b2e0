"""Every defect, in the order of docs/gate-power.md."""

from __future__ import annotations

from tinyworlds_gate.power.defect import Defect
from tinyworlds_gate.power.rows.afterwards import AFTERWARDS
from tinyworlds_gate.power.rows.build import rollout
from tinyworlds_gate.power.rows.clips import CLIPS, FRAMES
from tinyworlds_gate.power.rows.evidence import FILES, LOG, METRIC
from tinyworlds_gate.power.rows.models import LUCK, MODELS, SWAPS
from tinyworlds_gate.power.rows.objects import OBJECTS
from tinyworlds_gate.power.rows.probes import PROBES
from tinyworlds_gate.power.rows.rollouts import ROLLOUT
from tinyworlds_gate.power.rows.statements import STATEMENTS

LIMITS = (rollout("blurred", "a model that predicts each frame's average colour", "FAIL", "G5", ""),)
"""Known blind spots of the rule, shown in docs/gate-power.md but not counted among the defects."""

GROUPS: dict[str, tuple[Defect, ...]] = {
    "Models": MODELS,
    "No better than no model": LUCK,
    "Small moving objects": OBJECTS,
    "Checkpoints of another run or step": SWAPS,
    "Rollout": ROLLOUT,
    "Frames that the model did not generate": PROBES,
    "Clips and settings": CLIPS,
    "Frames": FRAMES,
    "Metric and measurements": METRIC,
    "Stated numbers": STATEMENTS,
    "Log": LOG,
    "Picture and end of the process": FILES,
    "Changes after a verdict": AFTERWARDS,
}
DEFECTS: tuple[Defect, ...] = tuple(defect for group in GROUPS.values() for defect in group)
