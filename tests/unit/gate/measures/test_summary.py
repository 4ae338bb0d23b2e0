"""From raw errors to the gate's numbers: closed forms and a second, naive implementation of the bootstrap."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.gate_evidence import clip, raw, write_raw
from tinyworlds_gate.gate.measures.bootstrap import RESAMPLES, interval, resampled_means
from tinyworlds_gate.gate.measures.information import psnr_db
from tinyworlds_gate.gate.measures.raw import MeasuresError, read_raw
from tinyworlds_gate.gate.measures.summary import _decibels, _token_use, summarise


def naive_resampled_means(values: list[float], episodes: list[int], *, seed: int, resamples: int) -> np.ndarray:
    """Draw whole episodes with replacement and average the clips that they bring, one resample at a time."""
    ids = sorted(set(episodes))
    generator = np.random.Generator(np.random.Philox(key=[seed, 0x626F6F74]))
    draws = generator.integers(0, len(ids), size=(resamples, len(ids)))
    means = []
    for draw in draws:
        drawn = [
            value for index in draw for value, episode in zip(values, episodes, strict=True) if episode == ids[index]
        ]
        means.append(sum(drawn) / len(drawn))
    return np.array(means)


@settings(max_examples=25, deadline=None)
@given(
    clips=st.lists(st.tuples(st.floats(0.0, 1.0), st.integers(-3, 6)), min_size=1, max_size=12),
    seed=st.integers(0, 2**32 - 1),
)
@pytest.mark.requirement("G5")
def test_the_bootstrap_draws_whole_episodes_and_averages_their_clips(clips: list[tuple[float, int]], seed: int) -> None:
    values, episodes = [value for value, _ in clips], [episode for _, episode in clips]
    found = resampled_means({"mse": np.array(values)}, np.array(episodes), seed=seed, resamples=50)["mse"]
    np.testing.assert_allclose(found, naive_resampled_means(values, episodes, seed=seed, resamples=50), atol=1e-12)


def test_two_episodes_of_different_sizes_are_weighted_by_their_clips() -> None:
    values, episodes = np.array([0.0, 1.0, 1.0, 1.0]), np.array([7, 9, 9, 9])
    samples = resampled_means({"mse": values}, episodes, seed=0)["mse"]
    found, counts = np.unique(samples, return_counts=True)
    assert found.tolist() == [0.0, 0.75, 1.0]
    np.testing.assert_allclose(counts / RESAMPLES, [0.25, 0.5, 0.25], atol=0.05)


def test_the_interval_is_the_central_95_percent() -> None:
    assert interval(np.arange(0.0, 1001.0)) == pytest.approx((25.0, 975.0))


@pytest.mark.parametrize(
    ("episodes", "errors"),
    [
        pytest.param([0, 1, 2, 3], [0.02] * 4, id="the same error in every clip"),
        pytest.param([0, 0, 1, 1], [0.01, 0.03, 0.03, 0.01], id="episodes that are alike"),
    ],
)
def test_the_interval_has_no_width_where_episodes_do_not_differ(episodes: list[int], errors: list[float]) -> None:
    clips = [clip([error, error], episode=episode) for error, episode in zip(errors, episodes, strict=True)]
    found = summarise(raw(clips))
    assert found.mse == pytest.approx(0.02)
    assert (found.mse_low, found.mse_high) == (pytest.approx(0.02), pytest.approx(0.02))


def test_clips_of_one_episode_have_no_interval() -> None:
    found = summarise(raw([clip([error] * 2, episode=5) for error in (0.01, 0.02, 0.03)]))
    ends = (found.mse_low, found.mse_high, found.skill_low, found.skill_high, found.delta_psnr_low_db)
    assert all(end is not None and math.isnan(end) for end in ends)


def test_the_interval_covers_the_mean_of_episodes_that_differ() -> None:
    clips = [clip([0.01 * (index + 1)] * 2, episode=index) for index in range(6)]
    found, other_seed = summarise(raw(clips, seed=1)), summarise(raw(clips, seed=2))
    assert found.mse_low < found.mse < found.mse_high
    assert (found.mse_low, found.mse_high) == (other_seed.mse_low, other_seed.mse_high)


def test_the_interval_of_each_step_is_over_episodes_and_not_over_clips() -> None:
    """More clips of the same episodes say nothing new: each step's interval stays, and is that of its errors alone."""
    errors = [[0.01 * (index + 1), 0.1 / (index + 1)] for index in range(4)]
    clips = [clip(error, episode=index) for index, error in enumerate(errors)]
    few, many = summarise(raw(clips)), summarise(raw([one for one in clips for _ in range(5)]))
    for found in (few, many):
        ends = list(zip(found.mse_low_by_step or [], found.mse_high_by_step or [], strict=True))
        alone = [summarise(raw([clip([e[step]] * 2, episode=i) for i, e in enumerate(errors)])) for step in (0, 1)]
        assert ends == [pytest.approx((one.mse_low, one.mse_high)) for one in alone]
    assert (many.mse_low, many.mse_high) == pytest.approx((few.mse_low, few.mse_high))
    assert few.mse_low < few.mse < few.mse_high


def test_no_end_of_an_error_is_above_one() -> None:
    found = summarise(raw([clip([error] * 2, episode=index) for index, error in enumerate((0.9, 0.01))]))
    assert found.mse_high == 1.0


@pytest.mark.requirement("G5")
def test_the_error_is_the_mean_over_clips_and_steps_and_is_shown_by_step() -> None:
    found = summarise(raw([clip([0.01, 0.03], episode=0), clip([0.03, 0.09], episode=1)]))
    assert found.mse == pytest.approx(0.04)
    assert found.mse_by_step == pytest.approx([0.02, 0.06])
    assert found.copy_last_mse_by_step == pytest.approx([0.02, 0.02])
    assert (found.clips, found.episodes, found.context, found.generation_steps) == (2, 2, 2, 2)


@pytest.mark.requirement("G5")
def test_skill_is_one_minus_the_ratio_of_the_sums_resampled_together() -> None:
    """Clips of very different difficulty whose ratio is the same: the ratio of resampled sums never moves."""
    clips = [clip([0.5 * scale] * 2, copy_last=scale, episode=index) for index, scale in enumerate((0.01, 0.1, 0.4))]
    found = summarise(raw(clips))
    assert found.skill == pytest.approx(0.5)
    assert (found.skill_low, found.skill_high) == (pytest.approx(0.5), pytest.approx(0.5))
    assert found.mse_low < found.mse_high


def test_skill_is_not_the_mean_of_the_clips_own_skills() -> None:
    found = summarise(raw([clip([0.01, 0.01], copy_last=0.02), clip([0.09, 0.09], copy_last=0.18, episode=1)]))
    other = summarise(raw([clip([0.01, 0.01], copy_last=0.02), clip([0.18, 0.18], copy_last=0.18, episode=1)]))
    assert found.skill == pytest.approx(0.5)
    assert other.skill == pytest.approx(1 - 0.19 / 0.20)


def test_skill_is_undefined_where_nothing_moves() -> None:
    found = summarise(raw([clip([0.01, 0.01], copy_last=0.0), clip([0.01, 0.01], copy_last=0.0, episode=1)]))
    assert math.isnan(found.skill)
    assert math.isnan(found.skill_low)


@pytest.mark.requirement("G5")
def test_delta_psnr_is_what_random_actions_cost_in_decibels() -> None:
    found = summarise(raw([clip([0.01, 0.01], random_actions=0.1)]))
    assert found.delta_psnr_db == pytest.approx(10.0)
    assert found.psnr_db == pytest.approx(20.0)
    assert psnr_db(0.0) == math.inf


@pytest.mark.requirement("G5")
def test_a_code_counts_as_used_from_two_percent_of_the_transitions_on() -> None:
    codes = [0] * 97 + [1, 1] + [2]
    found = summarise(raw([clip([0.01] * 100, codes=codes)], generation_steps=100))
    assert found.action_codes_used == 2
    shares = np.array([0.97, 0.02, 0.01])
    assert found.action_entropy_nats == pytest.approx(float(-(shares * np.log(shares)).sum()))


def test_the_entropy_of_evenly_used_codes_is_the_logarithm_of_their_number_and_of_one_code_zero() -> None:
    even = summarise(raw([clip([0.01] * 4, codes=[0, 1, 2, 3])]))
    single = summarise(raw([clip([0.01] * 4, codes=[2, 2, 2, 2])]))
    assert even.action_entropy_nats == pytest.approx(math.log(4))
    assert (single.action_codes_used, single.action_entropy_nats) == (1, 0.0)


def test_with_a_longer_horizon_every_transition_into_a_generated_frame_is_counted() -> None:
    """Two steps of two frames: each row ends with the two codes of its own frames; the first repeats the context's."""
    one = clip([0.01] * 4, codes=[])
    one["latent_actions"] = [[3, 0, 1], [1, 2, 2]]
    found = summarise(raw([one]))
    assert found.action_codes_used == 3
    assert found.action_entropy_nats == pytest.approx(-(0.25 * math.log(0.25) * 2 + 0.5 * math.log(0.5)))


@pytest.mark.requirement("G5")
def test_skill_is_measured_against_the_mean_frame_too() -> None:
    clips = [clip([0.02, 0.02], mean_frame=0.05 * scale, episode=index) for index, scale in enumerate((1, 2, 1))]
    found = summarise(raw(clips))
    assert found.skill_mean_frame == pytest.approx(1 - 0.06 / 0.2)
    assert found.skill_mean_frame_low is not None
    assert found.skill_mean_frame_high is not None
    assert found.skill_mean_frame_low < 0.7 < found.skill_mean_frame_high
    assert found.mean_frame_mse_by_step == pytest.approx([0.2 / 3] * 2)


@pytest.mark.requirement("G5")
def test_psnr_is_that_of_the_mean_error_and_ssim_the_mean_of_the_clips_both_by_step() -> None:
    clips = [{**clip([0.01, 0.001], episode=index), "rollout_ssim": [0.8 + 0.1 * index, 0.5]} for index in range(2)]
    found = summarise(raw(clips))
    assert found.psnr_by_step_db == pytest.approx([20.0, 30.0])
    assert found.psnr_db == pytest.approx(-10 * math.log10(0.0055))
    assert found.ssim_by_step == pytest.approx([0.85, 0.5])
    assert found.ssim == pytest.approx(0.675)


@pytest.mark.requirement("G5")
def test_the_teacher_forced_error_is_shown_beside_the_strict_one() -> None:
    both = {"strict_mse": [0.02, 0.06], "teacher_forced_mse": [0.02, 0.03]}
    found = summarise(raw([{**clip([0.02, 0.06]), **both}]))
    assert (found.strict_mse, found.teacher_forced_mse) == (pytest.approx(0.04), pytest.approx(0.025))
    assert found.strict_mse_by_step == pytest.approx([0.02, 0.06])
    assert found.teacher_forced_mse_by_step == pytest.approx([0.02, 0.03])


@pytest.mark.requirement("G5")
def test_every_step_has_an_interval_over_episodes() -> None:
    """Step 1 is the same in all episodes, step 2 is not."""
    found = summarise(raw([clip([0.01, 0.01 * index], episode=index) for index in range(1, 7)]))
    assert found.mse_low_by_step is not None
    assert found.mse_high_by_step is not None
    assert (found.mse_low_by_step[0], found.mse_high_by_step[0]) == (pytest.approx(0.01), pytest.approx(0.01))
    assert found.mse_low_by_step[1] < 0.035 < found.mse_high_by_step[1]


@pytest.mark.requirement("G5")
def test_the_interval_of_delta_psnr_resamples_both_errors_together() -> None:
    """Episodes of very different difficulty in which random actions cost the same."""
    clips = [
        clip([0.01 * scale] * 2, random_actions=0.1 * scale, episode=index) for index, scale in enumerate((0.1, 1, 4))
    ]
    found = summarise(raw(clips))
    assert (found.delta_psnr_low_db, found.delta_psnr_high_db) == (pytest.approx(10.0), pytest.approx(10.0))


@pytest.mark.parametrize("end", [0.0, -1.0, math.inf, math.nan])
def test_a_ratio_that_is_none_has_no_decibels(end: float) -> None:
    assert _decibels((1.0, 100.0)) == (0.0, 20.0)
    for ends in ((end, 1.0), (1.0, end)):
        assert np.isnan(_decibels(ends)).all()


def test_the_use_of_tokens_is_known_from_both_counts_only() -> None:
    counts = {"token_counts": [3, 0, 1], "generated_token_counts": [0, 2, 0]}
    assert _token_use({}) == {}
    for name in counts:
        assert _token_use({name: counts[name]}) == {}
    use = _token_use(counts)
    assert (use["token_codes_used"], use["token_vocabulary"], use["generated_token_codes_used"]) == (2, 3, 1)
    assert use["token_entropy_nats"] == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))


def test_tokens_in_use_are_those_that_occur() -> None:
    found = summarise(raw([clip([0.01])], token_counts=[5, 0, 5, 0], generated_token_counts=[3, 0, 0, 0]))
    assert (found.token_codes_used, found.token_vocabulary, found.generated_token_codes_used) == (2, 4, 1)
    assert found.token_entropy_nats == pytest.approx(math.log(2))


def test_the_share_of_every_action_code_is_reported() -> None:
    found = summarise(raw([clip([0.01] * 4, codes=[0, 1, 1, 3])]))
    assert found.action_shares == [0.25, 0.5, 0.0, 0.25]


def test_measures_of_schema_1_are_still_summarised_and_what_they_lack_is_none() -> None:
    found = summarise(raw([clip([0.01, 0.02])]))
    for name in ("ssim", "strict_mse", "teacher_forced_mse", "token_codes_used", "rollout", "memory_references"):
        assert getattr(found, name) is None


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        ([[1]], r"lead into 1 generated frames with the codes \[1\]"),
        ([[0, 1], [0, 4]], r"with the codes \[1, 4\] …; 2 codes from 0 to 3 are needed"),
        ([[0, 1], [0, -1]], "2 codes from 0 to 3 are needed"),
        ([], "lead into 0 generated frames"),
    ],
)
def test_latent_actions_that_are_not_one_code_a_frame_are_refused(codes: list[list[int]], said: str) -> None:
    with pytest.raises(MeasuresError, match=said):
        summarise(raw([{**clip([0.01, 0.02]), "latent_actions": codes}]))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_clip_without_a_finite_error_spoils_the_whole_error(bad: float) -> None:
    found = summarise(raw([clip([0.01, bad], episode=0), clip([0.01, 0.01], episode=1)]))
    assert not math.isfinite(found.mse)
    assert not found.mse_high <= 0.03
    assert not found.skill_low > 0
    assert not found.delta_psnr_db >= 0


def test_measures_are_plain_data_for_the_journal() -> None:
    found = summarise(raw([clip([0.01, 0.01])])).as_dict()
    assert found["clip_digest"] == "d" * 64
    assert found["seed"] == 3
    assert all(value is None or isinstance(value, int | float | str | bool | list | dict) for value in found.values())


def test_a_missing_measures_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(MeasuresError, match=r"none\.json: the inference run left no measures; read its log"):
        read_raw(tmp_path / "none.json")


def without(key: str) -> dict[str, Any]:
    content = raw([clip([0.1, 0.2])])
    del content[key]
    return content


def clip_without(key: str) -> dict[str, Any]:
    broken = clip([0.1, 0.2], start=40)
    del broken[key]
    return raw([clip([0.1, 0.2]), broken])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param('{"clips": [', "the measures are not readable JSON", id="torn"),
        pytest.param([1, 2], "the measures are a list, not a mapping", id="a list"),
        pytest.param(
            raw([]), "the measures hold no clip; nothing was evaluated, and that is not a pass", id="no clips"
        ),
        pytest.param(without("clips"), "the measures hold no clip", id="clips absent"),
        pytest.param(
            raw([clip([0.1, 0.2], start=5)], generation_steps=3),
            "clip at 5 has 2 values of rollout_mse, expected 3",
            id="a step too few",
        ),
        pytest.param(
            clip_without("copy_last_mse"), "clip at 40 has 0 values of copy_last_mse, expected 2", id="absent"
        ),
        pytest.param(clip_without("episode"), "clip at 40 has no episode", id="no episode"),
        pytest.param(clip_without("start"), "clip at None has no start", id="no start"),
        pytest.param(
            raw([{**clip([0.1, 0.2]), "rollout_ssim": [0.5, 0.5]}, clip([0.1, 0.2])]),
            "1 of 2 clips have rollout_ssim; all or none must",
            id="half an optional table",
        ),
        pytest.param(
            raw([{**clip([0.1, 0.2]), "teacher_forced_mse": [0.5]}]),
            "clip at 0 has 1 values of teacher_forced_mse, expected 2",
            id="a short optional table",
        ),
        pytest.param(clip_without("tokenizer_recon_mse"), "clip at 40 has no tokenizer_recon_mse", id="no floor"),
        pytest.param(clip_without("latent_actions"), "clip at 40 has no latent_actions", id="no actions"),
        pytest.param(without("seed"), "the measures have no seed", id="no seed"),
        pytest.param(without("n_actions"), "the measures have no n_actions", id="no n_actions"),
        pytest.param(without("generation_steps"), "the measures have no generation_steps", id="no steps"),
        pytest.param(raw([]) | {"clips": [3]}, "clip number 1 is no mapping", id="a number for a clip"),
        pytest.param(
            raw([{**clip([0.1, 0.2]), "rollout_mse": [0.1, None]}]),
            "clip at 0 has the value None in rollout_mse",
            id="null for a number",
        ),
    ],
)
def test_measures_that_are_not_whole_are_refused_with_what_is_wrong(tmp_path: Path, content: object, said: str) -> None:
    with pytest.raises(MeasuresError, match=said):
        read_raw(write_raw(tmp_path / "measures.json", content))


def test_whole_measures_are_read_as_they_were_written(tmp_path: Path) -> None:
    content = raw([clip([0.1, 0.2]), clip([0.3, math.nan], episode=1)])
    found = read_raw(write_raw(tmp_path / "measures.json", content))
    assert found["clips"][0] == content["clips"][0]
    assert math.isnan(found["clips"][1]["rollout_mse"][1])
