"""The frames that play shows are those of the gate's rollout for the same context and codes.

python -m pytest tests/unit/play/test_session.py
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers.play_worlds import noise_frames
from tests.helpers.small_models import world_models
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.play.session import PlaySession, choose_threads
from tinyworlds_gate.reference.data.clips import to_model_range
from tinyworlds_gate.reference.rollout.measure import MeasureSettings, as_bytes, codes_of_steps, steps_on
from tinyworlds_gate.reference.rollout.probe import generate
from tinyworlds_gate.reference.rollout.probe_files import ProbeGroup, ProbeRequest
from tinyworlds_gate.reference.rollout.rollout import actions_from_codes, rollout, step_windows

CPU = torch.device("cpu")
STEPS = 9
CHOICES = ("likeliest", "nearest_mean", "mean")


def settings(**changes: Any) -> MeasureSettings:
    return MeasureSettings(**({"generation_steps": STEPS, "decode_steps": 3} | changes))


def played(session: PlaySession, context_THWC: np.ndarray, codes: list[int]) -> np.ndarray:
    session.reset(context_THWC)
    return np.concatenate([session.step(code) for code in codes])


@pytest.mark.parametrize("space", ["tokens", "pixels"])
@pytest.mark.parametrize(("context", "memory", "horizon"), [(1, None, 1), (3, None, 1), (2, 3, 1), (2, None, 2)])
@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_the_frames_are_bit_for_bit_those_of_a_rollout(
    space: str, context: int, memory: int | None, horizon: int, temperature: float
) -> None:
    models, chosen = world_models(), [3, 0, 0, 2, 1, 3, 3, 0, 2]
    own = settings(space=space, memory=memory, prediction_horizon=horizon, temperature=temperature, seed=5)
    frames_THWC = noise_frames().frames[4 : 4 + context]
    session = PlaySession(models, own, CPU)
    shown = played(session, frames_THWC, chosen)
    codes = torch.tensor([session.codes])
    assert codes[0, context - 1 :: horizon].tolist() == chosen
    output = rollout(
        models,
        to_model_range(torch.from_numpy(frames_THWC)[None]),
        context=context,
        generation_steps=STEPS,
        prediction_horizon=horizon,
        decode_steps=own.decode_steps,
        temperature=temperature,
        space=own.space,
        memory=memory,
        actions=actions_from_codes(models, codes, step_windows(context, STEPS, horizon, memory)),
        generator=torch.Generator().manual_seed(own.seed),
        steps=steps_on(models, own, CPU),
    )
    assert np.array_equal(shown, as_bytes(output.predicted_BTCHW)[0])


@pytest.mark.parametrize("choice", CHOICES)
def test_the_gates_probe_generates_the_same_frames(choice: str) -> None:
    models, own = world_models(), settings(token_choice=choice, memory=3)
    context_THWC = noise_frames().frames[:2]
    session = PlaySession(models, own, CPU)
    shown = played(session, context_THWC, [1, 2, 3, 0, 0, 1, 2, 3, 1])
    windows = step_windows(2, STEPS, 1, 3)
    codes = codes_of_steps(models, actions_from_codes(models, torch.tensor([session.codes]), windows))
    group = ProbeGroup(rows=np.array([0]), context=context_THWC[None], codes=codes, seed=0)
    asked = {name: getattr(own, name) for name in own.__dataclass_fields__}
    request = ProbeRequest({"play": group}, asked, 1, {}, "cpu", False)
    assert np.array_equal(generate(models, request, CPU)["play"][0], shown)


def test_another_code_gives_another_picture_and_a_reset_the_first_one_again() -> None:
    session, context = PlaySession(world_models(), settings(), CPU), noise_frames().frames[:3]
    first, other, again = (played(session, context, codes) for codes in ([0, 0], [0, 3], [0, 0]))
    assert np.array_equal(first, again)
    assert np.array_equal(first[0], other[0])
    assert not np.array_equal(first[1], other[1])
    assert session.new_frames == 2


@pytest.mark.parametrize("code", [-1, 4])
def test_a_code_that_the_model_does_not_have_is_refused(code: int) -> None:
    session = PlaySession(world_models(), settings(), CPU)
    session.reset(noise_frames().frames[:3])
    with pytest.raises(ConfigError, match=rf"action code {code}: the model has the codes 0 to 3"):
        session.step(code)
    assert session.new_frames == 0


def test_a_step_before_a_context_is_refused() -> None:
    with pytest.raises(ConfigError, match="no context: choose a clip"):
        PlaySession(world_models(), settings(), CPU).step(0)


def test_the_number_of_threads_is_left_alone_where_the_environment_sets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    session, context, before = PlaySession(world_models(), settings(), CPU), noise_frames().frames[:3], 2
    usual = torch.get_num_threads()
    try:
        torch.set_num_threads(before)
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        assert choose_threads(session, context) == torch.get_num_threads() == before
        monkeypatch.delenv("OMP_NUM_THREADS")
        assert "OMP_NUM_THREADS" not in os.environ
        assert choose_threads(session, context) == torch.get_num_threads() in (1, before)
    finally:
        torch.set_num_threads(usual)
