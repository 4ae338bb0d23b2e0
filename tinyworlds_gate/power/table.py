"""Every defect, in the order of docs/gate-power.md: models, rollout, clips, frames, metric, log, files, afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import yaml

from tinyworlds_gate.power.defect import Defect
from tinyworlds_gate.power.in_weights import (
    dynamics,
    initialised,
    noisy,
    scaled,
    swapped,
    with_lineage,
)

Verdict = Literal["FAIL", "INVALID"]
Change = Callable[[Path], None]

TOKENIZER, ACTIONS, DYNAMICS = "video_tokenizer", "latent_actions", "dynamics"


def _weights(
    id: str, what: str, verdict: Verdict, check: str, said: str, project: Change, quick: bool = False
) -> Defect:
    return Defect(id, what, "weights", verdict, check, said, project=project, quick=quick)


def _rollout(id: str, what: str, verdict: Verdict, check: str, said: str, quick: bool = False) -> Defect:
    return Defect(id, what, "rollout", verdict, check, said, in_child=id, quick=quick)


def _data(id: str, what: str, verdict: Verdict, check: str, said: str, quick: bool = False) -> Defect:
    return Defect(id, what, "data", verdict, check, said, in_child=id, quick=quick)


def _child(id: str, what: str, verdict: Verdict, check: str, said: str, quick: bool = False) -> Defect:
    return Defect(id, what, "child", verdict, check, said, in_child=id, quick=quick)


def _after(id: str, what: str, check: str, said: str, afterwards: Change) -> Defect:
    return Defect(id, what, "afterwards", "INVALID", check, said, afterwards=afterwards)


def _setting(file: str, **changes: object) -> Change:
    def change(root: Path) -> None:
        path = root / "settings" / f"{file}.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes), encoding="utf-8")

    return change


def _threshold(**changes: object) -> Change:
    def change(root: Path) -> None:
        path = root / "settings" / "profile.yaml"
        content = yaml.safe_load(path.read_text())
        content["thresholds"] |= changes
        path.write_text(yaml.safe_dump(content), encoding="utf-8")

    return change


def _an_old_picture(root: Path) -> None:
    from PIL import Image

    folder = root / "inference_results"
    folder.mkdir(exist_ok=True)
    Image.new("RGB", (8, 8), "white").save(folder / "inference_results_gt_vs_pred_2026_01_01_00_00_00.png")


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


def _retrained(root: Path) -> None:
    dynamics(noisy(0.01))(root)


WORSE = "the model predicts worse than no motion at all"
TOO_FAR = "is above the limit 0.03: the generated frames are too far from the true ones"
NO_CONTROL = "random actions cost .* the actions hardly steer what the model predicts"
NOT_CLIPS = "clips were measured instead of the 64 held-out clips"
NOT_ERRORS = "what it states is not the error of these frames"
NOT_STRICT = "of the generated values change when the true future is withheld"
BY_CHANCE = "of the generated values change from one rollout to the next"
SCALED = "its frames were scaled, cut or mixed up before they were compared"
OTHER_LINEAGE = "trained (on|with)|learned from|not the"

MODELS = (
    _rollout("copy-last", "a model that repeats the last frame", "FAIL", "G5.skill", r"must be above 0", quick=True),
    _rollout("mean-picture", "a model that always answers one average picture", "FAIL", "G5.control", NO_CONTROL),
    _rollout("noise", "a model that answers noise", "FAIL", "G5", TOO_FAR),
    _rollout("black", "a model that answers black", "FAIL", "G5", TOO_FAR),
    _rollout("frozen", "a model that generates one frame and repeats it", "FAIL", "G5.control", NO_CONTROL),
    _rollout("reversed-time", "the generated frames in reversed order", "FAIL", "G5.skill", "must be above 0"),
    _rollout("other-clip", "each clip is given the frames of another", "FAIL", "G5.skill", "must be above 0"),
    _weights(
        "dynamics-untrained",
        "dynamics with new random weights",
        "FAIL",
        "G5",
        TOO_FAR,
        dynamics(initialised),
        quick=True,
    ),
    _weights("dynamics-noisy", "dynamics whose weights drown in noise", "FAIL", "G5", TOO_FAR, dynamics(noisy(2.0))),
    _weights(
        "argmax-ties",
        "dynamics for which all tokens are equally likely",
        "FAIL",
        "G5",
        TOO_FAR,
        dynamics(scaled("output_mlp", 0.0)),
    ),
    _weights(
        "actions-ignored",
        "dynamics that ignores the actions",
        "FAIL",
        "G5.control",
        NO_CONTROL,
        dynamics(scaled("to_gamma_beta.1.weight", 0.0)),
        quick=True,
    ),
    _weights(
        "one-action-code",
        "a latent-action model that knows one action only",
        "FAIL",
        "G5.codes",
        "1 action code is in use, at least 3 are asked for",
        with_lineage(ACTIONS, scaled("action_head.3.weight", 0.0)),
        quick=True,
    ),
    _weights(
        "actions-untrained",
        "a latent-action model with new random weights, that dynamics claims to have learned from",
        "FAIL",
        "G5.codes",
        "at least 3 are asked for",
        with_lineage(ACTIONS, initialised),
    ),
    _weights(
        "tokenizer-collapsed",
        "a tokenizer that gives every patch the same token",
        "FAIL",
        "G5.mean_frame",
        "may know no more than the average picture",
        with_lineage(TOKENIZER, scaled("latent_head.1.weight", 0.0)),
    ),
    _weights(
        "tokenizer-untrained",
        "a tokenizer with new random weights, that dynamics claims to have learned from",
        "FAIL",
        "G5",
        TOO_FAR,
        with_lineage(TOKENIZER, initialised),
    ),
    _weights(
        "decoder-loud",
        "a decoder whose sums overflow",
        "FAIL",
        "G5.finite",
        "were no finite number before they were clamped",
        with_lineage(TOKENIZER, scaled("decoder.latent_embed", 1.0e30)),
    ),
)
FROM = {"other": "another run", "earlier": "an earlier step"}
STEPS_AND_RUNS = tuple(
    _weights(
        f"{stage.replace('_', '-')}-of-{source}",
        f"the {stage} checkpoint of {FROM[source]} in the place of this run's",
        "INVALID",
        "C4",
        "sha|SHA|trained|learned",
        swapped(stage, source),
        quick=stage == TOKENIZER and source == "other",
    )
    for stage in (TOKENIZER, ACTIONS)
    for source in ("other", "earlier")
)
SWAPS = (
    *STEPS_AND_RUNS,
    _weights(
        "dynamics-of-other",
        "the dynamics checkpoint of another run in the place of this run's",
        "INVALID",
        "C4",
        "sha|SHA|trained|learned",
        swapped(DYNAMICS, "other"),
    ),
    _child(
        "other-weights",
        "dynamics of an earlier step is loaded, the log names the chosen one",
        "INVALID",
        "G2.weights",
        "the weights of dynamics that were measured are not those that this run chose",
        quick=True,
    ),
    _child(
        "other-runs-weights",
        "dynamics of another run is loaded, the log names the chosen one",
        "INVALID",
        "G2.weights",
        "the weights of dynamics that were measured are not those that this run chose",
    ),
)
ROLLOUT = (
    _rollout("truth", "the true frames are given out as generated", "INVALID", "G5.blind", NOT_STRICT, quick=True),
    _rollout("half-truth", "generated frames are averaged with the true ones", "INVALID", "G5.blind", NOT_STRICT),
    _rollout("last-step-true", "the last generated frame is the true one", "INVALID", "G5.blind", NOT_STRICT),
    _rollout("teacher-forced", "teacher forcing passed off as strict", "INVALID", "G5.blind", NOT_STRICT, quick=True),
    _rollout("temperature", "tokens are sampled although temperature 0 is stated", "INVALID", "G5.repeat", BY_CHANCE),
    _rollout("seed-ignored", "the seed is ignored and tokens are sampled", "INVALID", "G5.repeat", BY_CHANCE),
    _rollout("sampling-noise", "noise is added to the generated frames", "INVALID", "G5.repeat", BY_CHANCE),
    _rollout("actions-one-step-late", "each step follows the action of the step before", "FAIL", "G5.skill", WORSE),
    _rollout("actions-one-step-early", "each step follows the action of the step after", "FAIL", "G5.skill", WORSE),
    _rollout("actions-of-another-clip", "each clip follows the actions of another", "FAIL", "G5.control", NO_CONTROL),
    _rollout("actions-constant", "all clips follow one and the same action", "FAIL", "G5.codes", "action code"),
    _rollout("actions-negated", "every action bit is turned", "FAIL", "G5.control", NO_CONTROL),
    _rollout("nan-pixels", "a few pixels are NaN", "FAIL", "G5.finite", "were no finite number"),
    _rollout("inf-pixels", "a few pixels are infinite", "FAIL", "G5.finite", "were no finite number", quick=True),
    _rollout(
        "float16-overflow", "frames are decoded in float16, which overflows", "FAIL", "G5.finite", "no finite number"
    ),
)
CLIPS = (
    _data(
        "one-lucky-clip",
        "one clip is measured, an easy one",
        "INVALID",
        "G5.clips",
        "1 clips were measured instead of the 64",
    ),
    Defect(
        "one-clip-asked",
        "one clip is asked for",
        "files",
        "FAIL",
        "G5.sample",
        "1 clip was measured in 1 episode, at least 5 episodes are asked for",
        project=_setting("inference", clips=1),
    ),
    _data("easiest-clips", "the easiest quarter of the clips is measured", "INVALID", "G5.clips", NOT_CLIPS),
    _data(
        "training-clips", "clips of training episodes are measured", "INVALID", "G5.clips", "were not drawn", quick=True
    ),
    _data("repeated-clip", "one clip is measured 64 times", "INVALID", "G5.clips", "clips were measured instead"),
    _data("shifted-clips", "the clips start a frame early", "INVALID", "G5.clips", "were not drawn"),
    _child(
        "fewer-steps",
        "clips are cut after 2 of 6 steps",
        "INVALID",
        "G5.settings",
        "generation_steps=2 instead of 6",
        quick=True,
    ),
    _child(
        "one-decode-step", "one decoding step instead of 4", "INVALID", "G5.settings", "decode_steps=1 instead of 4"
    ),
    _child(
        "temperature-stated",
        "tokens are sampled, and the run says so",
        "INVALID",
        "G5.settings",
        "temperature=1.0 instead",
    ),
    _child(
        "teacher-forced-stated",
        "teacher forcing, and the run says so",
        "INVALID",
        "G5.settings",
        "teacher_forced=True instead",
    ),
    _child("pixels-instead-of-tokens", "the other rollout space", "INVALID", "G5.settings", "rollout='pixels' instead"),
)
FRAMES = (
    _data("scaled-twice", "frames are scaled to [-1, 1] twice", "INVALID", "G5.baseline", SCALED),
    _data("range-0-255", "frames in [0, 255]", "INVALID", "G5.baseline", SCALED, quick=True),
    _data("range-0-1", "frames in [0, 1]", "INVALID", "G5.baseline", SCALED),
    _data("little-contrast", "frames with half of the contrast", "INVALID", "G5.baseline", SCALED),
    _data("channels-swapped", "red and blue are swapped", "INVALID", "G5.recomputed", NOT_ERRORS, quick=True),
    _data("upside-down", "frames are flipped vertically", "INVALID", "G5.recomputed", NOT_ERRORS),
    _data("other-file", "frames of an easier file, in which nothing moves", "INVALID", "G5.frames", "another digest"),
    _data("file-changes-meanwhile", "the frames file changes during the run", "INVALID", "G5.frames", "another digest"),
)
METRIC = (
    _child(
        "context-in-the-metric", "copied context frames count into the errors", "INVALID", "G5.recomputed", NOT_ERRORS
    ),
    _child(
        "error-not-computed",
        "a constant error is stated for every clip",
        "INVALID",
        "G5.recomputed",
        NOT_ERRORS,
        quick=True,
    ),
    _child("error-squared", "errors are squared once more", "INVALID", "G5.recomputed", NOT_ERRORS),
    _child("best-clip-for-all", "the best clip's errors stand for all", "INVALID", "G5.recomputed", NOT_ERRORS),
    _child("no-clips", "the measures hold no clip", "FAIL", "G1", "ended with exit code 1"),
    _child("no-measures", "no measures are written", "INVALID", "G5.measures", "left no measures"),
    _child("measures-of-another-run", "the measures are of other clips", "INVALID", "G5.frames", "another digest"),
)
LOG = (
    _child("log-without-error", "the log states no error", "FAIL", "G5.log", "no line 'Mean Squared Error", quick=True),
    _child(
        "log-error-made-up", "the error in the log is printed, not computed", "INVALID", "G5.log", "not of this run"
    ),
    _child("log-error-of-another-run", "the log states another run's error", "INVALID", "G5.log", "not of this run"),
    _child("log-error-nan", "the log states the error nan", "FAIL", "G5.log", "nan, not a finite number"),
    _child("log-without-statistics", "the log has no statistics", "FAIL", "G3", "no line 'Inference stats'"),
    _child("log-without-frames", "the log shows no inference step", "FAIL", "G3", "no frame was generated"),
    _child(
        "log-without-checkpoints", "the log names no checkpoint", "FAIL", "G2", "does not show which video_tokenizer"
    ),
    _child(
        "log-names-other-checkpoint", "the log names another checkpoint", "FAIL", "G2", "dynamics_step_49, but this run"
    ),
)
FILES = (
    Defect(
        "stale-picture",
        "no new picture; an old one lies there",
        "child",
        "FAIL",
        "G4",
        "no new inference_results_gt_vs_pred",
        project=_an_old_picture,
        in_child="stale-picture",
        quick=True,
    ),
    _child("empty-picture", "the picture is empty", "FAIL", "G4", "picture|image|png"),
    _child("cut-picture", "the picture is cut off", "FAIL", "G4", "picture|image|png"),
    _child("text-as-picture", "the picture is a text file", "FAIL", "G4", "picture|image|png"),
    _child(
        "picture-of-another-name", "the picture has another name", "FAIL", "G4", "no new inference_results_gt_vs_pred"
    ),
    _child(
        "exit-1-at-the-end", "the process fails after its last line", "FAIL", "G1", "ended with exit code 1", quick=True
    ),
    _child("exception-at-the-end", "an exception after the last line", "FAIL", "G1", "ended with exit code 1"),
    _child(
        "exit-0-at-the-start",
        "the process ends at once, with exit code 0",
        "FAIL",
        "G5.log",
        "no line 'Mean Squared Error",
    ),
)
AFTERWARDS = (
    _after(
        "threshold-raised",
        "max_mse is raised after the verdict",
        "binding",
        "thresholds.max_mse",
        _threshold(max_mse=0.3),
    ),
    _after(
        "threshold-dropped",
        "skill is not asked for any more",
        "binding",
        "require_skill",
        _threshold(require_skill=False),
    ),
    _after(
        "steps-changed",
        "fewer steps are asked for after the verdict",
        "binding",
        "generation_steps was 6",
        _setting("inference", generation_steps=2),
    ),
    _after(
        "retrained-since",
        "dynamics is trained on after the verdict",
        "binding",
        "the dynamics weights had SHA-256",
        _retrained,
    ),
    _after(
        "frames-changed-since",
        "the frames file changes after the verdict",
        "binding",
        "the frames file had SHA-256",
        _other_frames,
    ),
    _after("measures-edited", "the measures are edited after the verdict", "files", "another verdict", _edit_measures),
    _after("log-edited", "the log is edited after the verdict", "files", "another verdict", _edit_log),
    _after("picture-removed", "the picture is gone", "files", "another verdict|is gone", _remove_picture),
)
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
