"""The probe of the gate: its choice of clips, the comparison of its frames, and the rule on the past (G5.blind, G7).

pytest tests/unit/gate/measures/test_probe.py
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.gate_evidence import past
from tests.unit.gate.measures.test_claims import WEIGHTS, honest
from tests.unit.gate.measures.test_clip_facts import frames_file
from tinyworlds_gate.gate.conditions import Condition
from tinyworlds_gate.gate.measures.claims import claim_conditions
from tinyworlds_gate.gate.measures.clip_facts import clip_facts
from tinyworlds_gate.gate.measures.probe import Probe, Probed, probed
from tinyworlds_gate.gate.measures.probe_plan import (
    FOREIGN,
    OTHER_SEED,
    PLAYED,
    PREDICTED,
    RANDOM,
    REPEATED,
    ProbePlan,
    checked_codes,
    foreign_pairs,
    plan_probe,
)
from tinyworlds_gate.gate.measures.raw import MeasuresError
from tinyworlds_gate.gate.measures.recomputed_errors import recomputed
from tinyworlds_gate.gate.past_rule import judge_past, meets_past, past_text
from tinyworlds_gate.names import INVALID, PASS
from tinyworlds_gate.reference.rollout.generated_frames import NO_CODE, GeneratedFrames
from tinyworlds_gate.reference.rollout.probe_files import ProbeResult
from tinyworlds_gate.reference.rollout.rollout import step_windows

__all__ = ["frames_file", "honest"]

CONTEXT, STEPS, CLIPS, EPISODES = 2, 4, 48, 12
SETTINGS: dict[str, Any] = {
    "generation_steps": STEPS,
    "prediction_horizon": 1,
    "temperature": 0.0,
    "memory": 3,
    "batch_size": 8,
    "seed": 5,
}
FOLLOWED = [2, 3, 3, 3]
"""Transitions of each step: with a context of 2 frames, then with a memory of 3."""
Content = dict[str, Any]


def run(clips: int = CLIPS) -> tuple[Content, GeneratedFrames, np.ndarray, np.ndarray]:
    """Return measures, frames with codes, context frames and episodes of random clips."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (clips, STEPS, max(FOLLOWED))).astype(np.int16)
    for step, length in enumerate(FOLLOWED):
        codes[:, step, length:] = NO_CODE
    stated = [[row[:length][-2:].tolist() for row, length in zip(one, FOLLOWED, strict=True)] for one in codes]
    content = {"n_actions": 4, "clips": [{"start": 9 * n, "latent_actions": one} for n, one in enumerate(stated)]}
    frames, context = (rng.integers(0, 256, (clips, length, 4, 4, 3), np.uint8) for length in (STEPS, CONTEXT))
    generated = GeneratedFrames(frames, random=frames ^ 64, codes=codes)
    return content, generated, context, np.arange(clips) % EPISODES


def planned(seed: int = 0, **changes: Any) -> ProbePlan:
    return plan_probe(*run(), {**SETTINGS, **changes}, np.random.default_rng(seed))


@pytest.mark.requirement("G5")
def test_clips_of_every_batch_are_chosen_at_random_and_come_with_their_context_and_codes() -> None:
    _, generated, context, _ = run()
    plans = [planned(seed) for seed in range(20)]
    assert {len(plan.clips) for plan in plans} == {16}, "more than a batch of 8"
    assert {clip for plan in plans for clip in plan.clips} == set(range(CLIPS))
    assert len({plan.clips for plan in plans}) == 20
    for name in (PREDICTED, REPEATED, RANDOM):
        group = plans[0].groups[name]
        assert group.rows.tolist() == list(plans[0].clips)
        assert np.array_equal(group.context, context[group.rows])
        expected = None if name == RANDOM or generated.codes is None else generated.codes[group.rows]
        assert (group.codes is None) is (name == RANDOM)
        assert group.codes is None or (expected is not None and np.array_equal(group.codes, expected))
    assert plans[0].groups[REPEATED].seed - plans[0].groups[PREDICTED].seed == OTHER_SEED
    assert len(planned(batch_size=32).clips) == 32
    assert len(planned(batch_size=999).clips) == CLIPS


@pytest.mark.requirement("G5")
@pytest.mark.parametrize("horizon_and_memory", [(1, None), (1, CONTEXT + 1), (2, None)], ids=str)
def test_freely_chosen_codes_replace_those_into_generated_frames(horizon_and_memory: tuple[int, int | None]) -> None:
    horizon, memory = horizon_and_memory
    steps, used = 3, [1, 3]
    settings = {**SETTINGS, "prediction_horizon": horizon, "memory": memory, "generation_steps": steps}
    windows = step_windows(CONTEXT, steps, horizon, memory)
    lengths = [len(window) - 1 for window in windows]
    rng = np.random.default_rng(0)
    inferred = rng.choice(used, (CLIPS, CONTEXT + steps * horizon)).astype(np.int16)
    codes = np.full((CLIPS, steps, max(lengths)), NO_CODE, np.int16)
    for step, (window, length) in enumerate(zip(windows, lengths, strict=True)):
        codes[:, step, :length] = inferred[:, window.start : window.start + length]
    rows = [codes[:, step, :length] for step, length in enumerate(lengths)]
    clips = [{"start": n, "latent_actions": [row[n, -horizon:].tolist() for row in rows]} for n in range(CLIPS)]
    frames, context = (np.zeros((CLIPS, length, 4, 4, 3), np.uint8) for length in (steps * horizon, CONTEXT))
    raw = {"n_actions": 8, "clips": clips}
    plan = plan_probe(raw, GeneratedFrames(frames, codes=codes), context, np.arange(CLIPS), settings, rng)
    group = plan.groups[PLAYED]
    assert group.codes is not None
    assert (len(plan.played), group.rows.tolist()) == (16, list(plan.played))
    followed: dict[int, set[bytes]] = {}
    for step, (window, length) in enumerate(zip(windows, lengths, strict=True)):
        for column, transition in enumerate(range(window.start, window.start + length)):
            followed.setdefault(transition, set()).add(group.codes[:, step, column].tobytes())
            same = np.array_equal(group.codes[:, step, column], inferred[group.rows, transition])
            assert same is (transition < CONTEXT - 1), "the context has its own actions"
        assert (group.codes[:, step, length:] == NO_CODE).all()
    assert {len(each) for each in followed.values()} == {1}, "a transition has one code in every step"
    assert set(np.unique(group.codes)) - {NO_CODE} == set(used), "codes that are in use"


@pytest.mark.requirement("G5")
@pytest.mark.parametrize("temperature", [0.5, 1e-6])
@pytest.mark.parametrize(("batch_size", "least"), [(10, 16), (20, 20), (1, 16), (999, CLIPS)])
def test_sampled_tokens_are_compared_for_whole_batches_of_16_clips_or_more(
    temperature: float, batch_size: int, least: int
) -> None:
    seen = set()
    for seed in range(40):
        plan = planned(seed, temperature=temperature, batch_size=batch_size)
        numbers = sorted({clip // batch_size for clip in plan.clips})
        whole = [n for number in numbers for n in range(batch_size * number, min(CLIPS, batch_size * (number + 1)))]
        assert plan.clips == tuple(whole)
        assert least <= len(whole) < 16 + batch_size or len(whole) == CLIPS
        assert plan.groups[PREDICTED].rows.tolist() == plan.groups[RANDOM].rows.tolist() == whole
        assert plan.groups[PREDICTED].seed == plan.groups[RANDOM].seed == SETTINGS["seed"]
        assert REPEATED not in plan.groups
        seen |= set(numbers)
    assert seen == set(range(-(-CLIPS // batch_size))), "also the last batch, which may be smaller"


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(("batch_size", "temperature"), [(1, 0.0), (1, 1.0), (4, 1.0), (16, 0.0)])
def test_fewer_than_16_clips_are_all_probed(batch_size: int, temperature: float) -> None:
    settings = {**SETTINGS, "batch_size": batch_size, "temperature": temperature}
    assert plan_probe(*run(6), settings, np.random.default_rng(0)).clips == tuple(range(6))


def codes_of(change: Callable[[np.ndarray], object]) -> Callable[[Content, GeneratedFrames], GeneratedFrames]:
    def changed(content: Content, generated: GeneratedFrames) -> GeneratedFrames:
        assert generated.codes is not None
        codes = generated.codes.copy()
        change(codes)
        return replace(generated, codes=codes)

    return changed


def other_stated(content: Content, generated: GeneratedFrames) -> GeneratedFrames:
    content["clips"][7]["latent_actions"][2][0] += 1
    return generated


def too_few_stated(content: Content, generated: GeneratedFrames) -> GeneratedFrames:
    content["clips"][7]["latent_actions"].pop()
    return generated


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content, generated: replace(generated, codes=None), "left no action codes"),
        (lambda content, generated: replace(generated, codes=generated.codes[1:]), "shape .* instead of"),
        (lambda content, generated: replace(generated, codes=generated.codes[:, :, :2]), "shape .* instead of"),
        (codes_of(lambda codes: codes.__setitem__((3, 1, 0), 4)), "codes of step 2 are not from 0 to 3"),
        (codes_of(lambda codes: codes.__setitem__((3, 1, 0), -1)), "codes of step 2 are not from 0 to 3"),
        (codes_of(lambda codes: codes.__setitem__((3, 0, 2), 0)), "codes of step 1 are not from 0 to 3"),
        (other_stated, r"clip at 63, step 3: the measures state the action codes .*, but the step followed"),
        (too_few_stated, r"clip at 63, step 4: the measures state"),
    ],
)
def test_codes_that_no_step_can_have_followed_or_that_are_not_those_stated_are_no_evidence(
    change: Callable[[Content, GeneratedFrames], GeneratedFrames], said: str
) -> None:
    content, generated, context, episodes = run()
    with pytest.raises(MeasuresError, match=said):
        plan_probe(content, change(content, generated), context, episodes, SETTINGS, np.random.default_rng(0))


def test_honest_codes_come_back() -> None:
    content, generated, context, _ = run()
    assert checked_codes(content, generated, context.shape[1], SETTINGS) is generated.codes


@pytest.mark.requirement("G7")
@pytest.mark.parametrize("episodes", [2, 12, 48])
def test_each_clip_gets_the_context_of_another_episode_and_all_episodes_take_part(episodes: int) -> None:
    _, _, context, _ = run()
    of = np.sort(np.arange(CLIPS) % episodes)
    pairs = foreign_pairs(context, of, np.random.default_rng(1))
    assert len(pairs) == CLIPS
    assert all(of[clip] != of[other] for clip, other in pairs)
    assert {int(of[clip]) for clip, _ in pairs} == set(range(episodes))


@pytest.mark.requirement("G7")
def test_at_most_64_clips_get_another_context_spread_over_the_episodes() -> None:
    of = np.repeat(np.arange(10), (200, *(20,) * 9))
    context = np.random.default_rng(0).integers(0, 256, (len(of), 1, 2, 2, 3), np.uint8)
    pairs = foreign_pairs(context, of, np.random.default_rng(1))
    counts = np.bincount([of[clip] for clip, _ in pairs], minlength=10)
    assert (len(pairs), set(counts.tolist())) == (64, {6, 7})


@pytest.mark.requirement("G7")
def test_the_same_context_and_a_single_episode_are_no_occasion() -> None:
    content, generated, context, episodes = run()
    same = np.broadcast_to(context[:1], context.shape)
    noisy = np.clip(same.astype(int) + np.arange(CLIPS)[:, None, None, None, None] % 3, 0, 255).astype(np.uint8)
    for other, of in ((same, episodes), (noisy, episodes), (context, 0 * episodes)):
        plan = plan_probe(content, generated, other, of, SETTINGS, np.random.default_rng(0))
        assert (plan.foreign, FOREIGN in plan.groups) == ((), False)
        result = ProbeResult({PREDICTED: generated.predicted[np.array(plan.clips)]}, WEIGHTS)
        found = probed(Probe(result, plan.clips, ()), replace(generated, random=None), generated.predicted, of)
        assert found.past is not None
        assert found.past["no_occasion"].startswith("clips of 0 episodes have a context that differs")
        assert judge_past(found.past, 1.05)[0] == "NOT-RUN"


def probe(plan: ProbePlan, generated: GeneratedFrames, **frames: np.ndarray) -> Probe:
    """Return a probe that generated the same frames, but for ``frames`` by group; foreign contexts change nothing."""
    rows, foreign = np.array(plan.clips), np.array([clip for clip, _ in plan.foreign])
    assert generated.random is not None
    made = {
        PREDICTED: generated.predicted[rows],
        REPEATED: generated.predicted[rows],
        RANDOM: generated.random[rows],
        FOREIGN: generated.predicted[foreign],
    }
    return Probe(ProbeResult({**made, **frames}, WEIGHTS), plan.clips, plan.foreign)


@pytest.mark.requirement("G5", "G7")
def test_the_frames_of_the_probe_are_compared_with_those_of_the_inference_run_clip_by_clip() -> None:
    _, generated, _, episodes = run()
    plan, true = planned(), generated.predicted ^ 16
    same = probed(probe(plan, generated), generated, true, episodes, WEIGHTS)
    assert (same.problem, same.clips, same.changed, same.repeated, same.random) == ("", 16, 0.0, 0.0, 0.0)
    assert same.past is not None
    assert same.past["ratio"] == same.past["ratio_low"] == same.past["ratio_high"] == 1.0
    assert (same.past["clips"], same.past["episodes"]) == (CLIPS, EPISODES)
    own = probe(plan, generated).result
    assert own is not None
    other = own.frames[PREDICTED].copy()
    other[:4] ^= 128
    found = probed(probe(plan, generated, predicted=other), generated, true, episodes, WEIGHTS)
    assert (found.changed, found.changed_clips, found.repeated) == (0.25, 4, 0.25)
    found = probed(probe(plan, generated, random=own.frames[RANDOM] ^ 128), generated, true, episodes, WEIGHTS)
    assert (found.changed, found.random) == (0.0, 1.0)


@pytest.mark.requirement("G7")
@pytest.mark.parametrize(("own", "foreign", "factor"), [(4, 8, 4.0), (8, 4, 0.25), (0, 16, 1 + 12 * 16**2)])
def test_the_factor_is_that_of_the_squared_errors_of_a_typical_clip(own: int, foreign: int, factor: float) -> None:
    _, generated, _, episodes = run()
    true = np.full_like(generated.predicted, 100)
    made = replace(generated, predicted=true + np.uint8(own))
    plan = planned()
    made_foreign = (true + np.uint8(foreign))[np.array([clip for clip, _ in plan.foreign])]
    record = probed(probe(plan, made, foreign=made_foreign), made, true, episodes).past
    assert record is not None
    assert record["ratio"] == pytest.approx(factor, rel=0.01)
    assert record["ratio_low"] == pytest.approx(record["ratio"])


@pytest.mark.requirement("G5")
def test_a_probe_of_other_weights_or_with_missing_frames_is_no_evidence() -> None:
    _, generated, _, episodes = run()
    plan, true = planned(), generated.predicted

    def problem(made: Probe, weights: dict[str, str] | None = None) -> str:
        return probed(made, generated, true, episodes, weights).problem

    good = probe(plan, generated)
    assert good.result is not None
    assert "did not load the weights" in problem(good, {**WEIGHTS, "dynamics": "d" * 64})
    assert "generated no clip" in problem(replace(good, clips=()))
    for name in (PREDICTED, REPEATED, RANDOM, FOREIGN):
        assert f"frames {name!r} are missing" in problem(probe(plan, generated, **{name: true[:3]}))
    left = {name: table for name, table in good.result.frames.items() if name != PREDICTED}
    assert f"frames {PREDICTED!r} are missing" in problem(replace(good, result=replace(good.result, frames=left)))
    assert problem(Probe(problem="it crashed")) == "it crashed"


@pytest.mark.requirement("G5")
def test_frames_of_freely_chosen_codes_are_compared_and_clips_that_are_not_named_are_no_evidence() -> None:
    _, generated, context, episodes = run()
    plan = planned()
    played = generated.predicted[np.array(plan.played)]
    made = probe(plan, generated, **{PLAYED: played})
    shown = probed(replace(made, played=plan.played), generated, generated.predicted, episodes, None, context, 3)
    assert shown.problem == ""
    assert shown.played is not None
    assert (shown.played["no_occasion"], shown.played["clips"], shown.played["codes"]) == (None, 16, 3)
    few = probed(replace(made, played=plan.played), generated, generated.predicted, episodes, None, context, 1)
    assert few.played is not None
    assert "fewer than two action codes" in few.played["no_occasion"]
    unnamed = probed(made, generated, generated.predicted, episodes, None, context, 3)
    assert "belong to no clips that the journal names" in unnamed.problem
    older = probed(probe(plan, generated), generated, generated.predicted, episodes, None, context, 3)
    assert (older.problem, older.played) == ("", None)


@pytest.mark.requirement("G5")
def test_actions_and_reconstruction_errors_of_the_chosen_clips_are_compared() -> None:
    _, generated, _, episodes = run()
    plan, true = planned(), generated.predicted
    assert generated.codes is not None
    rows = np.array(plan.clips)
    codes = generated.codes[rows].copy()
    made = probe(plan, generated)
    assert made.result is not None

    def shown(**changes: Any) -> Probed:
        assert made.result is not None
        return probed(replace(made, result=replace(made.result, **changes)), generated, true, episodes)

    floor = np.arange(len(rows)) / 100
    found = shown(codes=codes, recon_mse=floor)
    assert (found.codes, found.rows, found.problem) == (0.0, plan.clips, "")
    assert found.recon_mse is floor
    assert (shown().codes, shown().recon_mse) == (None, None)
    codes[:4, 0, 0] ^= 1
    assert shown(codes=codes).codes == pytest.approx(4 / (16 * sum(FOLLOWED)))
    assert "codes are of another shape" in shown(codes=codes[1:]).problem
    assert "did not reconstruct each" in shown(recon_mse=floor[1:]).problem


def conditions(
    path: Path, content: Content, generated: GeneratedFrames, made: Probe | None, **changes: Any
) -> dict[str, Condition]:
    facts = clip_facts(content, path.parent)
    shown = None if made is None else probed(made, generated, facts.true_BSHWC, facts.episodes)
    if shown is not None:
        shown = replace(shown, **changes)
    found = claim_conditions(content, facts, recomputed(generated, facts.true_BSHWC), probe=shown)
    return {one.id: one for one in found}


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(
    ("changes", "id", "said"),
    [
        ({"changed": 0.011}, "G5.blind", r"1\.1 % of the generated values are others than .* \(0 of 2 clips chosen"),
        ({"repeated": 0.011}, "G5.repeat", "change from one rollout to the next .* temperature is 0"),
        ({"random": 0.011}, "G5.random", r"of the frames of random actions are others .* \(2 clips\)"),
        ({"codes": 0.011}, "G5.actions", r"1\.1 % of the action codes are others .* \(2 clips chosen at random\)"),
        ({"problem": "it crashed"}, "G5.blind", "cannot be checked: it crashed"),
        (
            {"gain": "the error is 1"},
            "G5.blind",
            "better than those that these weights .* true future.*: the error is 1",
        ),
        ({"random_gain": "the error is 1"}, "G5.random", "weights generate better frames than .*: the error is 1"),
    ],
)
def test_each_difference_has_its_own_condition(
    frames_file: Path, honest: tuple[Content, GeneratedFrames], changes: dict[str, Any], id: str, said: str
) -> None:
    content, generated = honest
    assert generated.random is not None
    frames = {PREDICTED: generated.predicted, REPEATED: generated.predicted, RANDOM: generated.random}
    made = Probe(ProbeResult(frames, {}), (0, 1))
    allowed = {key: 0.01 for key, value in changes.items() if isinstance(value, float)}
    assert {one.verdict for one in conditions(frames_file, content, generated, made, **allowed).values()} == {PASS}
    found = conditions(frames_file, content, generated, made, **changes)
    ((broken, condition),) = [item for item in found.items() if item[1].verdict != PASS]
    assert (broken, condition.verdict) == (id, INVALID)
    assert re.search(said, condition.reason), condition.reason


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(
    ("share", "verdict"), [(1.0, PASS), (1.019, PASS), (0.97, INVALID), (1.03, INVALID), (0, INVALID)]
)
def test_the_stated_floor_is_that_of_the_chosen_clips(
    frames_file: Path, honest: tuple[Content, GeneratedFrames], share: float, verdict: str
) -> None:
    content, generated = honest
    for clip, floor in zip(content["clips"], (0.01, 0.03), strict=True):
        clip["tokenizer_recon_mse"] = floor * share
    assert generated.random is not None
    frames = {PREDICTED: generated.predicted, REPEATED: generated.predicted, RANDOM: generated.random}
    made = Probe(ProbeResult(frames, {}, recon_mse=np.array([0.01, 0.03])), (0, 1))
    found = conditions(frames_file, content, generated, made)["G5.floor"]
    assert found.verdict == verdict
    assert (f"{0.02 * share:.6f} for 2 clips, these weights give 0.020000" in found.reason) is (verdict == INVALID)


@pytest.mark.requirement("G5")
def test_without_a_probe_the_reason_is_shown_and_older_files_are_judged_by_their_own_probes(
    frames_file: Path, honest: tuple[Content, GeneratedFrames]
) -> None:
    content, generated = honest
    skipped = conditions(frames_file, content, generated, Probe(not_run="teacher-forced"))
    assert (skipped["G5.blind"].verdict, skipped["G5.blind"].reason) == ("NOT-RUN", "teacher-forced")
    assert "G5.repeat" not in skipped
    older = conditions(frames_file, content, generated, None)
    assert older["G5.blind"].reason == "the generated frames stay the same when the true future is withheld"
    newer = conditions(frames_file, content, replace(generated, withheld=None, repeated=None), None)
    assert {"G5.blind", "G5.repeat"} & set(newer) == set()


@pytest.mark.requirement("G7")
@pytest.mark.parametrize(
    ("low", "verdict"), [(1.05, "PASS"), (1.0499, "FAIL"), (1.0, "FAIL"), (math.nan, "FAIL"), (None, "FAIL")]
)
def test_the_lower_end_of_the_factor_must_reach_the_limit(low: float | None, verdict: str) -> None:
    record = {**past(1.2), "ratio_low": low}
    found, reason = judge_past(record, 1.05)
    assert found == verdict
    assert meets_past(record, 1.05) is (verdict == "PASS")
    assert reason.startswith(past_text(record))
    assert ("hardly depends on the frames" in reason) is (verdict == "FAIL")


@pytest.mark.requirement("G7")
def test_a_past_that_was_not_measured_is_no_pass() -> None:
    assert judge_past(None, 1.05)[0] == INVALID
    assert judge_past({"no_occasion": "few episodes"}, 1.05) == ("NOT-RUN", "no occasion: few episodes")
    assert not meets_past({"no_occasion": "few episodes"}, 1.05)
