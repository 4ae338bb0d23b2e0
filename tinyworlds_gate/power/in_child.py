"""Defects that enter inside the inference process: in its rollout, its data, its metric, its log, its files.

A broken checkout is a script that breaks one thing and then runs the real inference run:

    from tinyworlds_gate.power.in_child import run
    run("copy-last")

Each defect is a context manager around the real run. Axes as in `reference/rollout/`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tinyworlds_gate.reference.rollout import errors_by_step, inference, measure
from tinyworlds_gate.reference.rollout import rollout as rollouts
from tinyworlds_gate.reference.rollout.clip_set import ClipSet, cut_clips
from tinyworlds_gate.reference.rollout.inference_main import main
from tinyworlds_gate.reference.rollout.rollout import RolloutOutput

Broken = Callable[[], AbstractContextManager[None]]
DEFECTS: dict[str, Broken] = {}


def run(defect: str) -> None:
    """Run the inference run with one thing broken."""
    with DEFECTS[defect]():
        main()


def _defect(name: str) -> Callable[[Callable[[], Iterator[None]]], Callable[[], Iterator[None]]]:
    def add(function: Callable[[], Iterator[None]]) -> Callable[[], Iterator[None]]:
        DEFECTS[name] = contextmanager(function)
        return function

    return add


@contextmanager
def _replaced(module: Any, name: str, make: Callable[[Any], Any]) -> Iterator[None]:
    old = getattr(module, name)
    setattr(module, name, make(old))
    try:
        yield
    finally:
        setattr(module, name, old)


# The rollout.

Frames = Callable[[torch.Tensor, torch.Tensor, dict[str, Any]], torch.Tensor]


def _frames_are(name: str, change: Frames) -> None:
    """A rollout whose generated frames are ``change(predicted, frames, arguments)``."""

    def make(old: Any) -> Any:
        def broken(models: Any, frames: torch.Tensor, **arguments: Any) -> RolloutOutput:
            output: RolloutOutput = old(models, frames, **arguments)
            made = change(output.predicted_BTCHW, frames, arguments)
            bad = (~made.isfinite()).sum() + output.non_finite
            return output._replace(predicted_BTCHW=made.clamp(-1, 1), non_finite=bad)

        return broken

    DEFECTS[name] = lambda: _replaced(measure, "rollout", make)


def _last_context(predicted: torch.Tensor, frames: torch.Tensor, arguments: dict[str, Any]) -> torch.Tensor:
    context = arguments["context"]
    return frames[:, context - 1 : context].expand_as(predicted)


def _truth(predicted: torch.Tensor, frames: torch.Tensor, arguments: dict[str, Any]) -> torch.Tensor:
    return frames[:, arguments["context"] :][:, : predicted.shape[1]]


def _last_step_true(predicted: torch.Tensor, frames: torch.Tensor, arguments: dict[str, Any]) -> torch.Tensor:
    return torch.cat((predicted[:, :-1], _truth(predicted, frames, arguments)[:, -1:]), dim=1)


def _one_value(value: float) -> Frames:
    def change(predicted: torch.Tensor, frames: torch.Tensor, arguments: dict[str, Any]) -> torch.Tensor:
        made = predicted.clone()
        made[0, 0, 0, :2, :2] = value
        return made

    return change


def _noisy(predicted: torch.Tensor, frames: torch.Tensor, arguments: dict[str, Any]) -> torch.Tensor:
    return predicted + 0.1 * torch.randn(predicted.shape, generator=arguments["generator"])


_frames_are("copy-last", _last_context)
_frames_are("mean-picture", lambda p, f, a: f[:, : a["context"]].mean(dim=(0, 1), keepdim=True).expand_as(p))
_frames_are("noise", lambda p, f, a: torch.rand(p.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1)
_frames_are("black", lambda p, f, a: torch.full_like(p, -1.0))
_frames_are("truth", _truth)
_frames_are("half-truth", lambda p, f, a: (p + _truth(p, f, a)) / 2)
_frames_are("last-step-true", _last_step_true)
_frames_are("nan-pixels", _one_value(float("nan")))
_frames_are("inf-pixels", _one_value(float("inf")))
_frames_are("frozen", lambda p, f, a: p[:, :1].expand_as(p))
_frames_are("reversed-time", lambda p, f, a: p.flip(1))
_frames_are("other-clip", lambda p, f, a: p.roll(1, dims=0))
_frames_are("blurred", lambda p, f, a: p.mean(dim=(3, 4), keepdim=True).expand_as(p))
_frames_are("sampling-noise", _noisy)


def _argument_is(name: str, **changes: Any) -> None:
    """A rollout that is called with another argument than the one it states."""

    def make(old: Any) -> Any:
        def broken(models: Any, frames: torch.Tensor, **arguments: Any) -> RolloutOutput:
            output: RolloutOutput = old(models, frames, **(arguments | changes))
            return output

        return broken

    DEFECTS[name] = lambda: _replaced(measure, "rollout", make)


_argument_is("teacher-forced", teacher_forced=True)
_argument_is("temperature", temperature=1.0)


def _actions_are(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Inferred actions that are changed before the rollout follows them; ``[B, S, K, A]``."""

    def make(old: Any) -> Any:
        return lambda *arguments: change(old(*arguments))

    DEFECTS[name] = lambda: _replaced(measure, "inferred_actions", make)


_actions_are("actions-one-step-late", lambda actions: actions.roll(1, dims=1))
_actions_are("actions-one-step-early", lambda actions: actions.roll(-1, dims=1))
_actions_are("actions-of-another-clip", lambda actions: actions.roll(1, dims=0))
_actions_are("actions-constant", lambda actions: actions[:1, :1].expand_as(actions).contiguous())
_actions_are("actions-negated", lambda actions: -actions)


@_defect("seed-ignored")
def _seed_ignored() -> Iterator[None]:
    def make(old: Any) -> Any:
        def broken(models: Any, frames: torch.Tensor, **arguments: Any) -> RolloutOutput:
            arguments["generator"].seed()
            output: RolloutOutput = old(models, frames, **(arguments | {"temperature": 2.0}))
            return output

        return broken

    with _replaced(measure, "rollout", make):
        yield


@_defect("float16-overflow")
def _float16_overflow() -> Iterator[None]:
    """Decoding in half precision with a sum that leaves its range, as an unscaled residual stream does."""
    from tinyworlds_gate.reference.models.video_tokenizer import VideoTokenizer

    def make(old: Any) -> Any:
        def broken(tokenizer: Any, latents: torch.Tensor) -> torch.Tensor:
            frames: torch.Tensor = old(tokenizer, latents).half()
            loud = torch.tensor(6.0e4, dtype=torch.float16)
            return ((frames * loud + loud * frames.sign()) / (loud + loud.sign())).float()

        return broken

    with _replaced(VideoTokenizer, "decode", make):
        yield


# The data.


def _clips_are(name: str, change: Callable[[ClipSet, Callable[..., ClipSet], Any], ClipSet]) -> None:
    """Other clips than those that were drawn: ``change(drawn, cut, data)`` (`clip_set.cut_clips`)."""

    @_defect(name)
    def _other_clips() -> Iterator[None]:
        def make(old: Any) -> Any:
            def broken(config: Any, root: Path, trained: Any) -> ClipSet:
                from tinyworlds_gate.reference.data.frames_file import load_frames

                drawn: ClipSet = old(config, root, trained)
                data = load_frames(drawn.data_path, frame_size=drawn.frames_BTCHW.shape[-1], stride=drawn.stride)

                def cut(starts: np.ndarray, steps: int | None = None) -> ClipSet:
                    length = drawn.frames_BTCHW.shape[1] if steps is None else drawn.context + steps
                    everything = tuple(int(one) for one in np.unique(data.episode))
                    return cut_clips(
                        data,
                        np.sort(starts),
                        length,
                        context=drawn.context,
                        data_sha256=drawn.data_sha256,
                        mean_over=everything,
                    )

                return change(drawn, cut, data)

            return broken

        with _replaced(inference, "draw_held_out", make):
            yield


def _easiest(drawn: ClipSet, count: int) -> np.ndarray:
    """The starts of the drawn clips in which least happens."""
    moved = (drawn.frames_BTCHW[:, drawn.context :] - drawn.frames_BTCHW[:, drawn.context - 1 : drawn.context]).square()
    order = moved.flatten(1).mean(dim=1).argsort().numpy()
    return drawn.starts[order[:count]]


def _training_starts(drawn: ClipSet, data: Any) -> np.ndarray:
    """As many clips, from episodes that none of the drawn clips lies in."""
    first = np.flatnonzero(np.diff(data.episode, prepend=-1))
    return first[~np.isin(data.episode[first], drawn.episodes)][: len(drawn.starts)]


_clips_are("one-lucky-clip", lambda drawn, cut, data: cut(_easiest(drawn, 1)))
_clips_are("easiest-clips", lambda drawn, cut, data: cut(_easiest(drawn, 16)))
_clips_are("training-clips", lambda drawn, cut, data: cut(_training_starts(drawn, data)))
_clips_are("repeated-clip", lambda drawn, cut, data: cut(np.repeat(drawn.starts[:1], len(drawn.starts))))
_clips_are("shifted-clips", lambda drawn, cut, data: cut(drawn.starts - (drawn.starts % 12 > 0)))


def _clip_frames_are(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Frames ``[B, T, C, H, W]`` that are changed before the models see them and before they are compared."""

    @_defect(name)
    def _changed_frames() -> Iterator[None]:
        def make(old: Any) -> Any:
            def broken(*arguments: Any) -> ClipSet:
                drawn: ClipSet = old(*arguments)
                return replace(drawn, frames_BTCHW=change(drawn.frames_BTCHW))

            return broken

        with _replaced(inference, "draw_held_out", make):
            yield


_clip_frames_are("scaled-twice", lambda frames: frames / 127.5 - 1)
_clip_frames_are("range-0-255", lambda frames: (frames + 1) * 127.5)
_clip_frames_are("range-0-1", lambda frames: (frames + 1) / 2)
_clip_frames_are("channels-swapped", lambda frames: frames.flip(2))
_clip_frames_are("upside-down", lambda frames: frames.flip(3))
_clip_frames_are("half-size", lambda frames: frames[..., ::2, ::2].repeat_interleave(2, -1).repeat_interleave(2, -2))
_clip_frames_are("little-contrast", lambda frames: frames * 0.5)


@_defect("other-file")
def _other_file() -> Iterator[None]:
    """Frames of an easier game, under the name of the run's own."""

    def make(old: Any) -> Any:
        def broken(*arguments: Any) -> ClipSet:
            drawn: ClipSet = old(*arguments)
            still = drawn.frames_BTCHW[:, :1].expand_as(drawn.frames_BTCHW).clone()
            return replace(drawn, frames_BTCHW=still, digest="0" * 64)

        return broken

    with _replaced(inference, "draw_held_out", make):
        yield


@_defect("file-changes-meanwhile")
def _file_changes_meanwhile() -> Iterator[None]:
    import h5py

    yield
    path = next(Path("data").glob("*_frames.h5"))
    with h5py.File(path, "r+") as file:
        file["frames"][:] = file["frames"][:] // 2


# The metric and the measures file.


@_defect("context-in-the-metric")
def _context_in_the_metric() -> Iterator[None]:
    """Each step's error is averaged with that of the context frame that was copied, as the source did."""

    def make(old: Any) -> Any:
        return lambda predicted, true: old(predicted, true) / 2

    with _replaced(errors_by_step, "mse_by_clip_and_step", make):
        yield


def _measures_are(name: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Raw measures that are changed before they are printed and written."""

    @_defect(name)
    def _changed_measures() -> Iterator[None]:
        def make(old: Any) -> Any:
            def broken(*arguments: Any) -> measure.Measurement:
                found: measure.Measurement = old(*arguments)
                change(found.raw)
                return found

            return broken

        with _replaced(inference, "measure_clips", make):
            yield


def _constant(raw: dict[str, Any]) -> None:
    for clip in raw["clips"]:
        clip["rollout_mse"] = [0.004 for _ in clip["rollout_mse"]]


def _root(raw: dict[str, Any]) -> None:
    for clip in raw["clips"]:
        clip["rollout_mse"] = [value**2 for value in clip["rollout_mse"]]


def _best_clip_everywhere(raw: dict[str, Any]) -> None:
    best = min(raw["clips"], key=lambda clip: sum(clip["rollout_mse"]))["rollout_mse"]
    for clip in raw["clips"]:
        clip["rollout_mse"] = list(best)


_measures_are("error-not-computed", _constant)
_measures_are("error-squared", _root)
_measures_are("best-clip-for-all", _best_clip_everywhere)
_measures_are("no-clips", lambda raw: raw["clips"].clear())


def _settings_are(name: str, **changes: Any) -> None:
    """Another setting than the one that was asked for, and stated as it is."""

    @_defect(name)
    def _other_settings() -> Iterator[None]:
        def make(old: Any) -> Any:
            def broken(models: Any, clips: ClipSet, settings: Any, *rest: Any) -> Any:
                return old(models, clips, replace(settings, **changes), *rest)

            return broken

        with _replaced(inference, "measure_clips", make):
            yield


_settings_are("fewer-steps", generation_steps=2)
_settings_are("one-decode-step", decode_steps=1)
_settings_are("temperature-stated", temperature=1.0)
_settings_are("teacher-forced-stated", teacher_forced=True)
_settings_are("pixels-instead-of-tokens", space="pixels")


@_defect("other-weights")
def _other_weights() -> Iterator[None]:
    """The log names the chosen dynamics checkpoint, another one is loaded: an earlier step that lies beside it."""
    yield from _loads("earlier_dynamics")


@_defect("other-runs-weights")
def _other_runs_weights() -> Iterator[None]:
    yield from _loads("other_dynamics")


def _loads(folder: str) -> Iterator[None]:
    def make(old: Any) -> Any:
        def broken(paths: dict[str, Path]) -> Any:
            beside = next(Path(folder).glob("dynamics_step_*"))
            found = old(paths | {"dynamics": beside.resolve()})
            shown = {**found.references, "dynamics": replace(found.references["dynamics"], path=paths["dynamics"])}
            return replace(found, references=shown)

        return broken

    with _replaced(inference, "load_trained", make):
        yield


@_defect("no-measures")
def _no_measures() -> Iterator[None]:
    with _replaced(inference, "_write_measures", lambda old: lambda path, measures: None):
        yield


@_defect("measures-of-another-run")
def _measures_of_another_run() -> Iterator[None]:
    """What lies there from an earlier run, of a better model: its numbers, on other clips."""

    def make(old: Any) -> Any:
        def broken(path: Path, measures: dict[str, Any]) -> None:
            other = json.loads(json.dumps(measures))
            other["clip_digest"] = "f" * 64
            old(path, other)

        return broken

    with _replaced(inference, "_write_measures", make):
        yield


# The log.


def _log_lines(name: str, change: Callable[[str], str | None]) -> None:
    """Lines of the log that are changed, or left out (None)."""

    @_defect(name)
    def _changed_log() -> Iterator[None]:
        def told(*words: object, **options: Any) -> None:
            lines = " ".join(map(str, words)).split("\n")
            kept = [new for line in lines if (new := change(line)) is not None]
            if kept:
                print("\n".join(kept), **options)

        inference.print = told  # type: ignore[attr-defined]
        try:
            yield
        finally:
            del inference.print  # type: ignore[attr-defined]


def _without(*beginnings: str) -> Callable[[str], str | None]:
    return lambda line: None if line.startswith(beginnings) else line


MSE_LINE = "Mean Squared Error (GT vs Pred):"


def _mse_is(text: str) -> Callable[[str], str | None]:
    return lambda line: f"{MSE_LINE} {text}" if line.startswith(MSE_LINE) else line


_log_lines("log-without-error", _without(MSE_LINE))
_log_lines("log-without-statistics", _without("Inference stats"))
_log_lines("log-without-frames", _without("Inferring frame"))
_log_lines("log-without-checkpoints", _without("Using "))
_log_lines("log-error-made-up", _mse_is("0.00100000"))
_log_lines("log-error-of-another-run", _mse_is("0.01199500"))
_log_lines("log-error-nan", _mse_is("nan"))
_log_lines(
    "log-names-other-checkpoint", lambda line: line.replace("dynamics_step_799", "dynamics_step_49") if line else line
)


# The picture and the end of the process.


def _picture_is(name: str, change: Callable[[Path], Path]) -> None:
    @_defect(name)
    def _other_picture() -> Iterator[None]:
        def make(old: Any) -> Any:
            return lambda *arguments: change(old(*arguments))

        with _replaced(inference, "save_rollout_picture", make):
            yield


def _kept(path: Path) -> Path:
    """The picture of an earlier run stays the only one."""
    path.unlink()
    return next(path.parent.glob("inference_results_gt_vs_pred_*.png"))


def _emptied(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def _cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:300])
    return path


def _text(path: Path) -> Path:
    path.write_text("the rollout looks fine\n")
    return path


def _misnamed(path: Path) -> Path:
    return path.rename(path.with_name("rollout.png"))


_picture_is("stale-picture", _kept)
_picture_is("empty-picture", _emptied)
_picture_is("cut-picture", _cut)
_picture_is("text-as-picture", _text)
_picture_is("picture-of-another-name", _misnamed)


@_defect("exit-1-at-the-end")
def _exit_1_at_the_end() -> Iterator[None]:
    yield
    sys.exit(1)


@_defect("exception-at-the-end")
def _exception_at_the_end() -> Iterator[None]:
    yield
    raise RuntimeError("the device was lost while the caches were freed")


@_defect("exit-0-at-the-start")
def _exit_0_at_the_start() -> Iterator[None]:
    sys.exit(0)
    yield


assert rollouts.rollout is not None
