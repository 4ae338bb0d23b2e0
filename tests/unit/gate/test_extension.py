"""A project's own conditions and metrics: their definition, their measurement, and the examples of docs/extending.md.

pytest tests/unit/gate/test_extension.py
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.commands import REPOSITORY
from tests.helpers.gate_evidence import evidence, measures
from tests.unit.gate.measures.test_claims import Content, honest
from tests.unit.gate.measures.test_clip_facts import CONTEXT, STEPS, frames_file
from tinyworlds_gate.config.thresholds import GateThresholds
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.gate.checkout_gate import TargetVerdict, both_gates
from tinyworlds_gate.gate.custom_records import record_text
from tinyworlds_gate.gate.evidence import measured
from tinyworlds_gate.gate.extension import (
    BUILT_IN,
    CONDITIONS_HOOK,
    METRICS_HOOK,
    ClipMetric,
    Hook,
    ScoredClips,
    call_hooks,
    load_conftest,
)
from tinyworlds_gate.gate.measures.custom import CustomResult
from tinyworlds_gate.gate.verdict import judge_inference, judge_measures
from tinyworlds_gate.names import FAIL, INVALID, PASS
from tinyworlds_gate.reference.rollout.generated_frames import GeneratedFrames, write_generated

__all__ = ["frames_file", "honest"]

PAGE = REPOSITORY / "docs" / "extending.md"
LENIENT = GateThresholds(min_episodes=None)
MOST_LINES = 15


def zeros(clips: ScoredClips) -> np.ndarray:
    return np.zeros(len(clips.episodes))


# Definitions


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "Last-Frame"}, "ClipMetric 'Last-Frame': the name must be lower-case letters"),
        ({"name": "drift\n"}, "the name must be lower-case letters"),
        ({"name": 3}, "ClipMetric 3: the name must be"),
        ({"name": "skill"}, r"the gate has its own condition G5\.skill; choose a new name"),
        ({"measure": 0.3}, "ClipMetric drift: measure is 0.3; pass a function"),
        ({"at_most": 1, "at_least": 0}, "both at_most and at_least; keep one"),
        ({"at_most": float("nan")}, "the limit is nan; it must be a finite number"),
        ({"at_least": "0.1"}, "the limit is '0.1'; it must be a finite number"),
        ({"unit": None}, "unit is None; it must be a string"),
    ],
)
def test_a_wrong_definition_names_the_field_its_value_and_what_is_allowed(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ClipMetric(**{"name": "drift", "measure": zeros, **fields})


def test_the_names_of_the_gates_own_conditions_are_all_reserved() -> None:
    sources = (path.read_text(encoding="utf-8") for path in (REPOSITORY / "tinyworlds_gate").rglob("*.py"))
    used = {name for text in sources for name in re.findall(r'"G5\.([a-z_]+)"', text)}
    assert used == set(BUILT_IN)


def raising() -> list[ClipMetric]:
    raise ValueError("no such file")


@pytest.mark.parametrize(
    ("hook", "function", "said"),
    [
        (CONDITIONS_HOOK, raising, f"a.py: {CONDITIONS_HOOK} raised ValueError: no such file"),
        (CONDITIONS_HOOK, lambda: [ClipMetric("A", zeros)], f"{CONDITIONS_HOOK}: ClipMetric 'A': the name must"),
        (CONDITIONS_HOOK, lambda: None, "returned None; it must return a list of ClipMetric"),
        (METRICS_HOOK, lambda: [zeros], "it must return a list of ClipMetric"),
        (CONDITIONS_HOOK, lambda: [ClipMetric("drift", zeros)], "drift has no limit; add at_most or at_least"),
        (
            METRICS_HOOK,
            lambda: [ClipMetric("drift", zeros, at_least=2)],
            "is only shown, but has the limit `at least 2`",
        ),
        (METRICS_HOOK, lambda: [ClipMetric("drift", zeros)] * 2, "two conditions or metrics are named drift"),
    ],
)
def test_a_hook_that_defines_nothing_usable_is_refused_with_one_sentence(
    hook: str, function: Callable[[], Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        call_hooks([Hook(hook, "a.py", function)])


def test_a_name_is_unique_over_both_hooks_and_all_files() -> None:
    hooks = [
        Hook(CONDITIONS_HOOK, "a.py", lambda: [ClipMetric("drift", zeros, at_most=1)]),
        Hook(METRICS_HOOK, "b.py", lambda: [ClipMetric("drift", zeros)]),
    ]
    with pytest.raises(ConfigError, match=r"b\.py: two conditions or metrics are named drift; rename one"):
        call_hooks(hooks)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("gone.py", None, "no such file"),
        ("conftest.txt", "", "its name must end with .py"),
        ("conftest.py", "import numpy\n1 / 0\n", "running it raised ZeroDivisionError"),
        ("conftest.py", "x = 1\n", f"it defines neither {CONDITIONS_HOOK} nor {METRICS_HOOK}"),
        ("conftest.py", f"def {METRICS_HOOK}():\n    return 3\n", f"{METRICS_HOOK} returned 3"),
    ],
)
def test_a_file_without_usable_hooks_is_refused(tmp_path: Path, name: str, text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=re.escape(said)):
        load_conftest(tmp_path / name)


# Measurement: of an honest inference run of two clips, from its files


Judge = Callable[..., CustomResult]


@pytest.fixture
def judge(frames_file: Path, honest: tuple[Content, GeneratedFrames]) -> Judge:
    """Measure one metric on the files of the inference run."""
    content, generated = honest
    path = frames_file.parent / "measures.json"
    path.write_text(json.dumps({**content, "generated_frames": "frames.h5"}))
    write_generated(path.parent / "frames.h5", generated)

    def result(measure: Callable[[ScoredClips], Any], **fields: Any) -> CustomResult:
        (found,) = measured(path, path.parent, custom=[ClipMetric("own", measure, **fields)]).custom
        return found

    return result


def test_the_measure_gets_the_frames_of_both_files_and_cannot_change_them(
    judge: Judge, honest: tuple[Content, GeneratedFrames]
) -> None:
    seen: list[ScoredClips] = []

    def keep(clips: ScoredClips) -> np.ndarray:
        seen.append(clips)
        return zeros(clips)

    judge(keep)
    (clips,) = seen
    assert clips.context.shape == (2, CONTEXT, 20, 20, 3)
    assert clips.true.shape == clips.generated.shape == (2, STEPS, 20, 20, 3)
    assert {table.dtype for table in (clips.context, clips.true, clips.generated)} == {np.dtype(np.uint8)}
    np.testing.assert_array_equal(clips.generated, honest[1].predicted)
    np.testing.assert_array_equal(clips.generated[:, 0], np.clip(clips.context[:, -1].astype(int) - 5, 0, 255))
    np.testing.assert_array_equal(clips.episodes, [0, 1])
    with pytest.raises(ValueError, match="read-only"):
        clips.true[0] = 0


def test_the_same_error_comes_out_as_the_gates_own(judge: Judge, honest: tuple[Content, GeneratedFrames]) -> None:
    def mse(clips: ScoredClips) -> np.ndarray:
        return np.square((clips.generated / 255.0) - clips.true / 255.0).mean(axis=(1, 2, 3, 4))

    found = judge(mse, at_most=1)
    stated = [np.mean(clip["rollout_mse"]) for clip in honest[0]["clips"]]
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    assert found.value == pytest.approx(np.mean(stated))
    assert 0 < found.low <= found.value <= found.high


@pytest.mark.parametrize(
    ("value", "limit", "verdict", "said"),
    [
        (0.25, {"at_most": 0.25}, PASS, "the project's own 0.25 dB is at most 0.25 dB"),
        (0.250001, {"at_most": 0.25}, FAIL, "the project's own 0.250001 dB is above the limit 0.25: it drifts"),
        (0.25, {"at_least": 0.25}, PASS, "the project's own 0.25 dB is at least 0.25 dB"),
        (-1, {"at_least": 0.25}, FAIL, "the project's own -1 dB is below the limit 0.25: it drifts"),
    ],
)
def test_the_mean_is_compared_with_the_limit(
    judge: Judge, value: float, limit: dict[str, float], verdict: str, said: str
) -> None:
    for measure in (lambda clips: zeros(clips) + value, lambda _: value):
        found = judge(measure, **limit, unit="dB", sentence="it drifts.")
        (condition,) = judge_measures(measures(), LENIENT, custom=[found]).conditions[-1:]
        assert (condition.id, condition.verdict, condition.reason) == ("G5.own", verdict, said)


def test_one_number_for_all_clips_has_no_interval(judge: Judge) -> None:
    assert (judge(lambda _: 3).low, judge(zeros).low) == (None, 0.0)
    assert record_text(judge(lambda _: 3).as_record()) == "own 3, only shown"
    assert record_text(judge(zeros, at_most=1).as_record()) == "own 0 (95 % interval 0 to 0), at most 1: PASS"


def skips(_: ScoredClips) -> float:
    pytest.skip("not today")


def raises(_: ScoredClips) -> float:
    raise KeyError("pixels")


@pytest.mark.parametrize(
    ("measure", "said"),
    [
        (raises, "its measure raised KeyError: 'pixels'"),
        (skips, "its measure raised Skipped: not today"),
        (lambda clips: clips.true.__setitem__(0, 0), "its measure raised ValueError: assignment destination"),
        (lambda clips: zeros(clips) * np.nan, "its measure returned nan for 2 of 2 clips, not a finite number"),
        (lambda _: float("inf"), "its measure returned inf, not a finite number"),
        (lambda clips: clips.true[:, 0], "an array of shape [2, 20, 20, 3] and type uint8, not one number for each of"),
        (lambda clips: zeros(clips)[:1], "an array of shape [1] and type float64, not one number for each of the 2"),
        (lambda _: None, "type object, not one number"),
        (lambda _: "0.1", "not one number for each of the 2 clips"),
    ],
)
def test_a_condition_that_cannot_be_measured_is_invalid_and_a_shown_metric_changes_nothing(
    judge: Judge, measure: Callable[[ScoredClips], Any], said: str
) -> None:
    found, shown = judge(measure, at_most=1e9), judge(measure)
    verdict = judge_measures(measures(), LENIENT, custom=[found])
    assert verdict.verdict == INVALID
    assert verdict.sentence.startswith("INVALID: the project's own could not be measured: ")
    assert said in verdict.sentence
    assert judge_measures(measures(), LENIENT, custom=[shown]).verdict == PASS
    assert said in record_text(shown.as_record())


def test_ctrl_c_in_a_measure_ends_the_session(judge: Judge) -> None:
    def interrupted(_: ScoredClips) -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judge(interrupted)


def test_without_the_generated_frames_a_condition_is_invalid(
    frames_file: Path, honest: tuple[Content, GeneratedFrames]
) -> None:
    path = frames_file.parent / "measures.json"
    path.write_text(json.dumps({**honest[0], "generated_frames": "gone.h5"}))
    (found,) = measured(path, path.parent, custom=[ClipMetric("own", zeros, at_most=1)]).custom
    assert found.verdict == INVALID
    assert "the inference run wrote no generated frames" in found.problem


# Verdict


OWN = ClipMetric("own", zeros, at_most=0.1, sentence="it drifts")
SHOWN = ClipMetric("motion", zeros)


def test_one_failed_condition_of_the_project_fails_an_inference_run_that_passes_without_it() -> None:
    assert judge_inference(evidence(), LENIENT).verdict == PASS
    found = judge_inference(evidence(custom=(CustomResult(OWN, 0.2), CustomResult(SHOWN, 9.0))), LENIENT)
    assert (found.verdict, found.sentence) == (FAIL, "FAIL: the project's own 0.2 is above the limit 0.1: it drifts.")
    assert [one.id for one in found.conditions if one.verdict != PASS] == ["G5.own"]
    assert "G5.motion" not in {one.id for one in found.conditions}
    assert [(one["name"], one["verdict"]) for one in found.as_event()["custom_metrics"]] == [
        ("own", FAIL),
        ("motion", None),
    ]


def test_without_own_conditions_the_event_is_as_before() -> None:
    assert list(judge_inference(evidence(), LENIENT).as_event()) == ["verdict", "sentence", "conditions", "thresholds"]


@pytest.mark.parametrize("own", [PASS, FAIL])
def test_both_gates_of_a_checkout_keep_the_conditions_of_the_project(own: str) -> None:
    trusted = judge_inference(evidence(custom=(CustomResult(OWN, 0.2),)), LENIENT)
    both = both_gates(TargetVerdict(own, f"{own}: so.", [], 0.01, 0.01), trusted, None, LENIENT)
    assert both.verdict == FAIL
    assert "own 0.2 is above the limit 0.1" in both.sentence
    assert both.as_event()["custom_metrics"] == trusted.as_event()["custom_metrics"]


# The examples of the page


def examples() -> list[str]:
    """The Python blocks of docs/extending.md."""
    return re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_page_has_one_example_for_each_hook_of_at_most_15_lines() -> None:
    condition, metric = examples()
    assert max(len(block.splitlines()) for block in (condition, metric)) <= MOST_LINES
    assert f"def {CONDITIONS_HOOK}" in condition
    assert f"def {METRICS_HOOK}" in metric


def test_the_examples_measure_what_the_page_says(tmp_path: Path) -> None:
    true = np.zeros((4, 3, 8, 8, 3), np.uint8)
    generated = true.copy()
    generated[:, -1] = 51
    clips = ScoredClips(true[:, :2], true, generated, np.arange(4))
    found: list[ClipMetric] = []
    for number, block in enumerate(examples()):
        path = tmp_path / f"conftest_{number}.py"
        path.write_text(block)
        found += load_conftest(path)
    condition, metric = found
    assert (condition.name, condition.limit_text, metric.name, metric.limit) == (
        "last_frame",
        "at most 0.02",
        "motion",
        None,
    )
    assert condition.measure(clips) == pytest.approx([0.04] * 4)
    assert not condition.holds(0.04)
    assert metric.measure(clips) == pytest.approx([25.5] * 4)
