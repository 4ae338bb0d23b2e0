"""Defects of the rollout: the truth leaks in, chance or other actions steer it, its values overflow."""

from __future__ import annotations

from tinyworlds_gate.power.rows.build import BY_CHANCE, NO_CONTROL, NOT_FINITE, NOT_STRICT, WORSE, rollout

ROLLOUT = (
    rollout("truth", "the true frames are given out as generated", "INVALID", "G5.blind", NOT_STRICT, quick=True),
    rollout("half-truth", "generated frames are averaged with the true ones", "INVALID", "G5.blind", NOT_STRICT),
    rollout("last-step-true", "the last generated frame is the true one", "INVALID", "G5.blind", NOT_STRICT),
    rollout("teacher-forced", "teacher forcing passed off as strict", "INVALID", "G5.blind", NOT_STRICT, quick=True),
    rollout("temperature", "tokens are sampled although temperature 0 is stated", "INVALID", "G5.repeat", BY_CHANCE),
    rollout("seed-ignored", "the seed is ignored and tokens are sampled", "INVALID", "G5.repeat", BY_CHANCE),
    rollout("sampling-noise", "noise is added to the generated frames", "INVALID", "G5.repeat", BY_CHANCE),
    rollout("actions-one-step-late", "each step follows the action of the step before", "FAIL", "G5.skill", WORSE),
    rollout("actions-one-step-early", "each step follows the action of the step after", "FAIL", "G5.skill", WORSE),
    rollout("actions-of-another-clip", "each clip follows the actions of another", "FAIL", "G5.control", NO_CONTROL),
    rollout(
        "actions-constant", "all clips follow one and the same action", "FAIL", "G5.codes", "1 action code is in use"
    ),
    rollout("actions-negated", "every action bit is turned", "FAIL", "G5.control", NO_CONTROL),
    rollout("nan-pixels", "a few pixels are NaN", "FAIL", "G5.finite", NOT_FINITE),
    rollout("inf-pixels", "a few pixels are infinite", "FAIL", "G5.finite", NOT_FINITE, quick=True),
    rollout("float16-overflow", "frames are decoded in float16, which overflows", "FAIL", "G5.finite", NOT_FINITE),
)
