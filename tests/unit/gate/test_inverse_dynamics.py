"""The probe of inverse dynamics reads a generated frame's action only where the frame follows it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tinyworlds_gate.gate.measures.inverse_dynamics import InverseProbe, action_accuracy, fit_probe

SIDE, STEPS = 16, 4
MOVES = np.array([(0, -2), (0, 2), (-2, 0), (2, 0)])
"""Of a square of 3 px: left, right, up, down."""


def walk(rng: np.random.Generator, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames [steps + 1, H, W, 3] of a square that moves on a torus, and the action after each of the first."""
    actions = rng.integers(0, len(MOVES), steps)
    places = np.cumsum(np.concatenate([rng.integers(0, SIDE, (1, 2)), MOVES[actions]]), axis=0)
    frames = np.full((steps + 1, SIDE, SIDE, 3), 20, np.uint8)
    for frame, (row, column) in zip(frames, places, strict=True):
        frame[np.ix_(np.arange(row, row + 3) % SIDE, np.arange(column, column + 3) % SIDE)] = (220, 90, 40)
    return frames, actions


@pytest.fixture(scope="module")
def probe() -> InverseProbe:
    rng = np.random.default_rng(0)
    walks = [walk(rng, 20) for _ in range(100)]
    frames = np.concatenate([one for one, _ in walks])
    actions = np.concatenate([np.append(one, 0) for _, one in walks])
    first = np.flatnonzero(np.arange(len(frames)) % 21 < 20)
    return fit_probe(frames, first, actions[first], len(MOVES), device=torch.device("cpu"), updates=250)


@pytest.fixture(scope="module")
def clips() -> tuple[np.ndarray, np.ndarray]:
    """Clips [B, 1 + S, H, W, 3] with the actions [B, S]."""
    rng = np.random.default_rng(1)
    walks = [walk(rng, STEPS) for _ in range(32)]
    return np.stack([one for one, _ in walks]), np.stack([one for _, one in walks])


def test_the_true_future_reads_as_well_as_itself(probe: InverseProbe, clips: tuple[np.ndarray, np.ndarray]) -> None:
    frames, actions = clips
    found = action_accuracy(probe, frames[:, 0], frames[:, 1:], frames[:, 1:], actions)
    assert found.true > 0.9
    assert found.ratio == 1.0
    assert len(found.generated_by_step) == STEPS


@pytest.mark.parametrize("fault", ["frozen", "other actions", "wrong after step 2"])
def test_frames_that_do_not_follow_the_actions_fall_behind(
    fault: str, probe: InverseProbe, clips: tuple[np.ndarray, np.ndarray]
) -> None:
    frames, actions = clips
    made = frames[:, 1:].copy()
    if fault == "frozen":
        made[:] = frames[:, :1]
    elif fault == "other actions":
        made[:] = np.roll(frames, 1, axis=0)[:, 1:]
    else:
        made[:, 2:] = made[:, 1:2]
    found = action_accuracy(probe, frames[:, 0], frames[:, 1:], made, actions)
    assert found.ratio is not None
    assert found.ratio < 0.95
    if fault == "wrong after step 2":
        assert min(found.generated_by_step[:2]) > 0.85
        assert max(found.generated_by_step[2:]) < 0.7


def test_a_probe_that_cannot_read_true_frames_says_nothing_about_a_model(
    probe: InverseProbe, clips: tuple[np.ndarray, np.ndarray]
) -> None:
    frames, _ = clips
    unrelated = np.zeros(frames[:, 1:].shape[:2], np.int64)
    unrelated[: len(unrelated) // 2] = 1
    found = action_accuracy(probe, frames[:, 0], frames[:, 1:], frames[:, 1:], unrelated)
    assert found.ratio is None


def test_the_same_arguments_give_the_same_probe() -> None:
    frames, actions = walk(np.random.default_rng(2), 60)
    words = {"device": torch.device("cpu"), "updates": 5}
    before = torch.get_rng_state()
    one, two = (fit_probe(frames, np.arange(60), actions, 4, **words) for _ in range(2))  # type: ignore[arg-type]
    assert torch.equal(before, torch.get_rng_state())
    for left, right in zip(one.network.parameters(), two.network.parameters(), strict=True):
        assert torch.equal(left, right)
