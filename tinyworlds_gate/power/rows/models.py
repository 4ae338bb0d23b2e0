"""Bad models: wrong outputs, wrong weights, and checkpoints of another run."""

from __future__ import annotations

from tinyworlds_gate.power.defect import Defect
from tinyworlds_gate.power.rows.build import (
    ACTIONS,
    DYNAMICS,
    NO_CONTROL,
    NO_SKILL,
    NOT_STRICT,
    OTHER_WEIGHTS,
    TOKENIZER,
    TOO_FAR,
    child,
    rollout,
    setting,
    swap,
    weights,
)
from tinyworlds_gate.power.weight_changes import initialised, noisy, scaled

MODELS = (
    rollout("copy-last", "a model that repeats the last frame", "FAIL", "G5.skill", NO_SKILL),
    rollout("mean-picture", "a model that always predicts one average frame", "FAIL", "G5.control", NO_CONTROL),
    rollout("noise", "a model that predicts noise", "FAIL", "G5", TOO_FAR),
    rollout("black", "a model that predicts black frames", "FAIL", "G5", TOO_FAR),
    rollout("frozen", "a model that generates one frame and repeats it", "FAIL", "G5.control", NO_CONTROL),
    rollout("reversed-time", "the generated frames in reversed order", "FAIL", "G5.skill", NO_SKILL),
    rollout("other-clip", "each clip gets the generated frames of another", "INVALID", "G5.blind", NOT_STRICT),
    weights("dynamics-untrained", "dynamics with new random weights", "G5", TOO_FAR, DYNAMICS, initialised),
    weights("dynamics-noisy", "dynamics with strong noise on its weights", "G5", TOO_FAR, DYNAMICS, noisy(2.0)),
    weights(
        "argmax-ties",
        "dynamics for which all tokens are equally likely",
        "G5",
        TOO_FAR,
        DYNAMICS,
        scaled("output_mlp", 0),
    ),
    weights(
        "actions-ignored",
        "dynamics that ignores the actions",
        "G5.control",
        NO_CONTROL,
        DYNAMICS,
        scaled("to_gamma_beta.1.weight", 0),
    ),
    weights(
        "one-action-code",
        "a latent-action model that uses one action code only",
        "G5.codes",
        "1 action code is in use, at least 3 are required",
        ACTIONS,
        scaled("action_head.3.weight", 0),
    ),
    weights(
        "actions-untrained",
        "a latent-action model with new random weights, that dynamics claims to be trained on",
        "G5.codes",
        "at least 3 are required",
        ACTIONS,
        initialised,
    ),
    weights(
        "tokenizer-collapsed",
        "a tokenizer that maps every patch to the same token",
        "G5.floor",
        "the stated error of the tokenizer's own reconstruction",
        TOKENIZER,
        scaled("latent_head.1.weight", 0),
        "INVALID",
    ),
    weights(
        "tokenizer-untrained",
        "a tokenizer with new random weights, that dynamics claims to be trained on",
        "G5",
        TOO_FAR,
        TOKENIZER,
        initialised,
    ),
    weights(
        "decoder-loud",
        "a decoder whose sums overflow",
        "G5.floor",
        "states a reconstruction error of the tokenizer of nan",
        TOKENIZER,
        scaled("decoder.latent_embed", 1e30),
        "INVALID",
    ),
)
NO_MODEL = "strongest prediction without a model"
UPPER_END = "the upper end .* of the error's 95 % interval is not within the limit 0.03"
LUCK = (
    rollout("context-mean", "a model that predicts the mean of its context", "FAIL", "G8", NO_MODEL),
    rollout("best-blend", "the best blend of last frame, context mean and mean frame", "FAIL", "G8", NO_MODEL),
    rollout("half-last-half-mean", "half the last frame plus half the context's mean", "FAIL", "G8", NO_MODEL),
    rollout("bad-in-few-rooms", "a model that is bad in a few episodes only", "FAIL", "G5.interval", UPPER_END),
    Defect(
        "good-in-few-rooms",
        "five clips, of which a few are lucky and the others above the limit",
        "rollout",
        "FAIL",
        "G5.interval",
        UPPER_END,
        project=setting("inference", clips=5),
        in_child="good-in-few-rooms",
        everywhere=True,
    ),
)
SWAPS = (
    *(swap(stage, source) for stage in (TOKENIZER, ACTIONS) for source in ("other", "earlier")),
    swap(DYNAMICS, "other"),
    *(
        child(
            id, f"dynamics of {source} is loaded, but the log names the run's", "INVALID", "G2.weights", OTHER_WEIGHTS
        )
        for id, source in (("other-weights", "an earlier step"), ("other-runs-weights", "another run"))
    ),
)
