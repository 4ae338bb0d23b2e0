"""Bad models: wrong outputs, wrong weights, and checkpoints of another run."""

from __future__ import annotations

from tinyworlds_gate.power.rows.build import (
    ACTIONS,
    DYNAMICS,
    LINEAGE,
    NO_CONTROL,
    NO_SKILL,
    NOT_FINITE,
    OTHER_WEIGHTS,
    TOKENIZER,
    TOO_FAR,
    child,
    rollout,
    weights,
)
from tinyworlds_gate.power.weight_changes import dynamics, initialised, noisy, scaled, swapped, with_lineage

MODELS = (
    rollout("copy-last", "a model that repeats the last frame", "FAIL", "G5.skill", NO_SKILL, quick=True),
    rollout("mean-picture", "a model that always predicts one average frame", "FAIL", "G5.control", NO_CONTROL),
    rollout("noise", "a model that predicts noise", "FAIL", "G5", TOO_FAR),
    rollout("black", "a model that predicts black frames", "FAIL", "G5", TOO_FAR),
    rollout("frozen", "a model that generates one frame and repeats it", "FAIL", "G5.control", NO_CONTROL),
    rollout("reversed-time", "the generated frames in reversed order", "FAIL", "G5.skill", NO_SKILL),
    rollout("other-clip", "each clip gets the generated frames of another", "FAIL", "G5.skill", NO_SKILL),
    weights(
        "dynamics-untrained",
        "dynamics with new random weights",
        "FAIL",
        "G5",
        TOO_FAR,
        dynamics(initialised),
        quick=True,
    ),
    weights("dynamics-noisy", "dynamics with strong noise on its weights", "FAIL", "G5", TOO_FAR, dynamics(noisy(2.0))),
    weights(
        "argmax-ties",
        "dynamics for which all tokens are equally likely",
        "FAIL",
        "G5",
        TOO_FAR,
        dynamics(scaled("output_mlp", 0.0)),
    ),
    weights(
        "actions-ignored",
        "dynamics that ignores the actions",
        "FAIL",
        "G5.control",
        NO_CONTROL,
        dynamics(scaled("to_gamma_beta.1.weight", 0.0)),
        quick=True,
    ),
    weights(
        "one-action-code",
        "a latent-action model that uses one action code only",
        "FAIL",
        "G5.codes",
        "1 action code is in use, at least 3 are required",
        with_lineage(ACTIONS, scaled("action_head.3.weight", 0.0)),
        quick=True,
    ),
    weights(
        "actions-untrained",
        "a latent-action model with new random weights, that dynamics claims to be trained on",
        "FAIL",
        "G5.codes",
        "at least 3 are required",
        with_lineage(ACTIONS, initialised),
    ),
    weights(
        "tokenizer-collapsed",
        "a tokenizer that maps every patch to the same token",
        "FAIL",
        "G5.mean_frame",
        "may know no more than the average picture",
        with_lineage(TOKENIZER, scaled("latent_head.1.weight", 0.0)),
    ),
    weights(
        "tokenizer-untrained",
        "a tokenizer with new random weights, that dynamics claims to be trained on",
        "FAIL",
        "G5",
        TOO_FAR,
        with_lineage(TOKENIZER, initialised),
    ),
    weights(
        "decoder-loud",
        "a decoder whose sums overflow",
        "FAIL",
        "G5.finite",
        NOT_FINITE,
        with_lineage(TOKENIZER, scaled("decoder.latent_embed", 1.0e30)),
    ),
)
FROM = {"other": "another run", "earlier": "an earlier step"}
STEPS_AND_RUNS = tuple(
    weights(
        f"{stage.replace('_', '-')}-of-{source}",
        f"the {stage} checkpoint of {FROM[source]} in place of this run's",
        "INVALID",
        "C4",
        LINEAGE,
        swapped(stage, source),
        quick=stage == TOKENIZER and source == "other",
    )
    for stage in (TOKENIZER, ACTIONS)
    for source in ("other", "earlier")
)
SWAPS = (
    *STEPS_AND_RUNS,
    weights(
        "dynamics-of-other",
        "the dynamics checkpoint of another run in place of this run's",
        "INVALID",
        "C4",
        LINEAGE,
        swapped(DYNAMICS, "other"),
    ),
    child(
        "other-weights",
        "dynamics of an earlier step is loaded, but the log names the run's",
        "INVALID",
        "G2.weights",
        OTHER_WEIGHTS,
        quick=True,
    ),
    child(
        "other-runs-weights",
        "dynamics of another run is loaded, but the log names the run's",
        "INVALID",
        "G2.weights",
        OTHER_WEIGHTS,
    ),
)
