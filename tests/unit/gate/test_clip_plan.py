"""The frames of a rollout, and clips in too few episodes. ``pytest tests/unit/gate/test_clip_plan.py``"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tinyworlds_gate.config.schema import InferenceConfig
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.gate import clip_plan
from tinyworlds_gate.gate.clip_plan import (
    ClipPlan,
    DrawnClips,
    may_retry,
    rollout_span,
    too_few_episodes,
    training_frames,
)
from tinyworlds_gate.gate.measures.baselines import TrainingFrames
from tinyworlds_gate.names import ATTEMPTS, FINAL
from tinyworlds_gate.reference.data.split import EpisodeSplit


def settings(
    *, least: int | None = 5, retries: int = 1, trained: tuple[str, ...] = ("dynamics",), **inference: Any
) -> Any:
    return SimpleNamespace(
        training=SimpleNamespace(context_length=4),
        inference=InferenceConfig(dataset="A", **inference),
        profile=SimpleNamespace(thresholds=SimpleNamespace(min_episodes=least), retry=SimpleNamespace(max=retries)),
        trained_stages=trained,
    )


@pytest.mark.requirement("L6")
@pytest.mark.parametrize(
    ("inference", "span"),
    [
        ({}, (3, 12)),
        ({"prediction_horizon": 2}, (2, 24)),
        ({"prediction_horizon": 3, "generation_steps": 2}, (1, 6)),
        ({"context_window": 1}, (1, 12)),
        ({"context_window": 3}, (3, 12)),
        ({"context_window": 2, "memory_window": 3}, (2, 12)),
        ({"memory_window": 1}, (3, 12)),
        ({"context_window": 4}, "context_window=4 and prediction_horizon=1 do not fit"),
        (
            {"context_window": 2, "memory_window": 4},
            "context_window=2, memory_window=4 and prediction_horizon=1 do not",
        ),
        (
            {"prediction_horizon": 4},
            "context_window=None and prediction_horizon=4 do not fit into context_length=4, the",
        ),
    ],
)
def test_a_step_of_the_rollout_fits_into_the_clips_of_training(inference: dict[str, Any], span: Any) -> None:
    if isinstance(span, tuple):
        assert rollout_span(settings(**inference)) == span
        return
    with pytest.raises(ConfigError, match=f"^{span}"):
        rollout_span(settings(**inference))


@pytest.mark.parametrize(
    ("retries", "trained", "may"),
    [(1, ("dynamics",), True), (0, ("dynamics",), False), (1, (), False), (1, ("video_tokenizer",), False)],
)
def test_dynamics_that_is_trained_may_be_retried(retries: int, trained: tuple[str, ...], may: bool) -> None:
    assert may_retry(settings(retries=retries, trained=trained)) is may


def plan(*episodes: int) -> ClipPlan:
    return ClipPlan(Path("f.h5"), draws={n: DrawnClips(Path("f.h5"), (1, 2), one) for n, one in enumerate(episodes, 1)})


WHY = (
    "f.h5: the clips of a verdict lie in {} {}, but the gate requires at least 5 (min_episodes), so that no model "
    "could "
    "pass. Hold out more episodes (held_out_fraction in profile.yaml), measure more clips (clips in inference.yaml), {}"
    "or lower min_episodes in profile.yaml"
)
PSEUDO = "pseudo-episodes (blocks of frames, because the file has no `episode`)"
SHORTER = "add a dataset `episode` that numbers shorter blocks of at least 15 frames as pseudo-episodes, "


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(
    ("changes", "episodes", "labelled", "why"),
    [
        ({}, (5, 6), True, None),
        ({}, (6, 4), True, WHY.format(4, "episodes", "")),
        ({}, (4,), False, WHY.format(4, PSEUDO, SHORTER)),
        ({"trained": ()}, (1,), True, None),
        ({"least": None}, (1,), True, None),
    ],
)
def test_clips_in_too_few_episodes_are_named_before_anything_is_trained(
    changes: dict[str, Any], episodes: tuple[int, ...], labelled: bool, why: str | None
) -> None:
    data: Any = SimpleNamespace(path=Path("f.h5"), has_true_episodes=labelled)
    assert too_few_episodes(settings(**changes), data, plan(*episodes)) == why


def test_a_plan_knows_the_clips_of_its_draws() -> None:
    empty, drawn = ClipPlan(), plan(6, 7)
    assert (empty.frames_of(ATTEMPTS), empty.starts_of(ATTEMPTS), empty.as_event()) == (None, None, [])
    other = ClipPlan(Path("a.h5"), draws={ATTEMPTS: DrawnClips(Path("b.h5"), (3,), 1)})
    assert (other.frames_of(ATTEMPTS), other.frames_of(FINAL)) == (Path("b.h5"), Path("a.h5"))
    assert (other.starts_of(ATTEMPTS), other.starts_of(FINAL)) == ((3,), None)
    assert drawn.as_event() == [{"draw": 1, "clips": 2, "episodes": 6}, {"draw": 2, "clips": 2, "episodes": 7}]
    assert training_frames(settings(), None, trained=True) is None


@pytest.mark.parametrize(
    ("train", "trained", "found"),
    [
        ((3,), True, ((3,), True)),
        ((3,), False, ((3,), False)),
        ((), True, ((1, 2), False)),
        ((), False, ((1, 2), False)),
    ],
)
def test_baselines_learn_from_the_training_episodes_and_without_any_from_the_held_out_ones(
    train: tuple[int, ...], trained: bool, found: tuple[tuple[int, ...], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def stride(*arguments: Any) -> int:
        asked.append(arguments)
        return 4

    monkeypatch.setattr(clip_plan, "dataset_stride", stride)
    monkeypatch.setattr(clip_plan, "read_episodes", lambda path, stride: asked.append((path, stride)))
    monkeypatch.setattr(clip_plan, "split_frames", lambda *arguments: EpisodeSplit(train=train, held_out=(1, 2)))
    of: Any = SimpleNamespace(training=SimpleNamespace(dataset="A", fps=15))
    assert training_frames(of, Path("f.h5"), trained=trained) == TrainingFrames(Path("f.h5"), found[0], 4, found[1])
    assert asked == [(Path("f.h5"), "A", 15), (Path("f.h5"), 4)]
