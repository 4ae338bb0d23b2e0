"""What the picture of a verdict shows and says, and that it can be drawn from whatever there is.

Run: pytest tests/unit/reports/verdict_picture/test_picture.py
"""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread

from tests.helpers.data_files import write_h5
from tests.helpers.gate_evidence import clip, evidence, measures, raw, write_raw
from tinyworlds_gate.config.thresholds import GateThresholds
from tinyworlds_gate.errors import DataError
from tinyworlds_gate.gate.conditions import Condition
from tinyworlds_gate.gate.extension import ClipMetric
from tinyworlds_gate.gate.measures.custom import CustomResult
from tinyworlds_gate.gate.measures.raw import MeasuresError
from tinyworlds_gate.gate.verdict import judge_inference
from tinyworlds_gate.names import INVALID, VERDICTS
from tinyworlds_gate.reference.rollout.generated_frames import GeneratedFrames, write_generated
from tinyworlds_gate.reports.verdict_picture import captions, figure
from tinyworlds_gate.reports.verdict_picture.charts import spread
from tinyworlds_gate.reports.verdict_picture.data import (
    Strip,
    VerdictView,
    chosen_clips,
    read_strips,
    shown_steps,
    verdict_view,
)
from tinyworlds_gate.reports.verdict_picture.page import resized
from tinyworlds_gate.run.journal import Event, Journal

LENIENT = GateThresholds(min_episodes=None)
STRICT = GateThresholds(
    require_mse_upper=True,
    require_skill=True,
    require_skill_strongest=True,
    min_object_share=0.9,
    min_past_ratio=1.05,
    require_upper_below_mean_frame=True,
    min_delta_psnr_db=0.5,
    min_action_codes=3,
    min_episodes=None,
)
CONTEXT, STEPS, SIZE = 2, 3, 8
LEVELS = (10, 40, 20)
"""How far the frames that are generated of each clip lie from the true ones, of 255."""


def judged(tmp_path: Path, thresholds: GateThresholds, draw: int = 1, **changes: Any) -> Event:
    """A `gate_verdict` as the journal holds it: judged by the gate itself, NaN as null."""
    found = evidence(**changes)
    verdict = judge_inference(found, thresholds)
    with Journal(tmp_path / "journal.jsonl") as journal:
        as_dict = found.measures.as_dict() if found.measures else None
        return journal.append("gate_verdict", attempt=2, draw=draw, measures=as_dict, **verdict.as_event())


def states(event: Event) -> dict[str, str]:
    return {card.name: card.state for card in captions.cards(event)}


# Words


def test_each_number_of_the_rule_has_a_card_with_its_limit(tmp_path: Path) -> None:
    event = judged(tmp_path, STRICT)
    assert {card.name: (card.value, *card.against) for card in captions.cards(event)} == {
        "rollout error": ("0.0100", "at most 0.03"),
        "its 95 % interval": ("0.0087 to 0.0116", "upper end at most 0.03", "below mean frame 0.0500"),
        "skill against copying": ("0.50", "from 0.42; to be above 0", "copying scores 0.0200"),
        "objects found / right": (
            "97 % / 98 %",
            "from 97 % and 98 %; lower ends at least 90 % and 80 %",
            "motion 0.90, sharpness 0.80 of the true frames",
        ),
        "foreign context costs": ("× 2.40", "from 2.28; at least 1.05", "0.0240 against 0.0100"),
        "skill against no model": ("0.44", "from 0.36; to be above 0", "blend scores 0.0180"),
        "random actions cost": ("6.02 dB", "at least 0.5 dB"),
        "freely chosen codes": (
            "error × 0.50",
            "of another clip's; like frames of the game",
            "sharpness 0.95, motion 0.80 of the true frames",
        ),
        "action codes in use": ("4 of 4", "at least 3"),
        "codes say of the actions": (
            "62 %",
            "above chance from 58 %; at least 5 %",
            "codes carry 1.9 of 2.0 bits a frame",
        ),
        "checks of the evidence": ("5 of 5", "log, clips, weights, picture"),
    }
    assert set(states(event).values()) == {captions.HOLDS}


def test_each_condition_and_metric_of_the_project_has_a_card_and_the_picture_grows_with_them(tmp_path: Path) -> None:
    own = ClipMetric("last_frame", repr, at_most=0.02)
    results = (
        CustomResult(own, 0.0301, 0.02, 0.04),
        CustomResult(ClipMetric("least", repr, at_least=1, unit="dB"), 2.0),
        CustomResult(ClipMetric("broken", repr, at_least=1), problem="its measure raised KeyError: 'x'"),
        CustomResult(ClipMetric("motion", repr), 4.0),
        CustomResult(ClipMetric("a_name_that_is_longer_than_its_card", repr), problem="its measure raised"),
        CustomResult(ClipMetric("sixth", repr), 1.0),
    )
    event, plain = judged(tmp_path, STRICT, custom=results), judged(tmp_path, STRICT)
    assert [(one.value, one.against, one.state) for one in captions.cards(event)[11:]] == [
        ("0.0301", ("at most 0.02", "95 % 0.02 to 0.04"), captions.FAILS),
        ("2 dB", ("at least 1 dB",), captions.UNPROVEN),
        ("no number", ("at least 1", "its measure raised KeyError: 'x'"), captions.FAILS),
        ("4", ("not required",), captions.SHOWN),
        ("no number", ("not required", "its measure raised"), captions.WARNS),
        ("1", ("not required",), captions.SHOWN),
    ]
    assert captions.cards(event)[10] == captions.cards(plain)[10], "they are no checks of the evidence"
    heights = []
    for number, one in enumerate((event, plain)):
        figure.save_picture(verdict_view(one, "a_run", None, (), ""), tmp_path / f"{number}.png")
        heights.append(imread(tmp_path / f"{number}.png").shape[0])
    assert heights[0] > heights[1] + 100


def test_a_failed_condition_is_marked_if_required_and_a_warning_otherwise(tmp_path: Path) -> None:
    bad = measures(mse=0.025, copy_last=0.02, random_actions=0.025, codes=1)
    (tmp_path / "lenient").mkdir()
    asked, not_asked = (
        judged(tmp_path, STRICT, measures=bad),
        judged(tmp_path / "lenient", LENIENT, measures=bad),
    )
    short = ("skill against copying", "random actions cost", "action codes in use")
    assert [states(asked)[name] for name in short] == [captions.FAILS] * 3
    assert [states(not_asked)[name] for name in short] == [captions.WARNS] * 3
    assert states(not_asked)["rollout error"] == states(asked)["rollout error"] == captions.HOLDS
    assert states(not_asked)["its 95 % interval"] == captions.SHOWN
    (codes,) = [card for card in captions.cards(not_asked) if card.name == "action codes in use"]
    assert codes.against == ("not required",)


def test_an_interval_that_is_not_required_warns_where_it_is_not_below_the_mean_frame(tmp_path: Path) -> None:
    """The strict thresholds require both its limit and the mean frame."""
    for mean_frame, state in ((0.05, captions.SHOWN), (0.019, captions.WARNS)):
        folder = tmp_path / state
        folder.mkdir()
        event = judged(folder, LENIENT, measures=measures(mse=0.02, mean_frame=mean_frame))
        assert states(event)["its 95 % interval"] == state


def test_numbers_of_invalid_evidence_are_not_shown_as_proven(tmp_path: Path) -> None:
    event = judged(tmp_path, STRICT, claims=(Condition("G5.recomputed", INVALID, "it is not the error"),))
    assert event["verdict"] == "INVALID"
    shown = states(event)
    assert shown.pop("checks of the evidence") == captions.FAILS
    assert set(shown.values()) == {captions.UNPROVEN}
    assert captions.cards(event)[-1].against == ("not G5.recomputed",)
    assert captions.chart_heading(event) == "Error by step, as stated: not proven"
    assert captions.control_heading(event) == "What actions do: not proven"


@pytest.mark.parametrize(
    ("mine", "heading"),
    [
        ([0.01, 0.01, 0.01], "better than copying the last frame at every step"),
        ([0.01, 0.02, 0.03], "better than copying the last frame at 1 of 3 steps"),
        ([0.02, 0.02, 0.03], "no better than copying the last frame at any step"),
        ([0.01, None, 0.01], "the model's is no finite number"),
    ],
)
def test_the_heading_compares_the_curves_with_copying_the_last_frame(mine: list[float | None], heading: str) -> None:
    event = {"verdict": "PASS", "measures": {"mse_by_step": mine, "copy_last_mse_by_step": [0.02] * 3}}
    assert captions.chart_heading(event) == f"Error by step: {heading}"


@pytest.mark.parametrize(
    ("cost", "heading", "note"),
    [
        (2.0, "The actions steer the model", "random actions cost 2.00 dB"),
        (0.2, "The actions hardly steer the model", "random actions cost 0.20 dB"),
        (-0.1, "The actions steer nothing", "random actions do better, by 0.10 dB"),
        (None, "What actions do: no number", None),
    ],
)
def test_the_effect_of_actions_is_described_in_words(cost: float | None, heading: str, note: str | None) -> None:
    numbers = {"delta_psnr_db": cost, "delta_psnr_low_db": -0.3, "delta_psnr_high_db": 2.5}
    assert captions.control_heading({"verdict": "PASS", "measures": numbers}) == heading
    notes = captions.control_notes(numbers)
    assert notes == (() if note is None else (note, "ΔPSNR, 95 % interval −0.30 to 2.50 dB"))


def test_every_reason_of_a_sentence_has_a_line_and_none_is_lost(tmp_path: Path) -> None:
    event = judged(tmp_path, STRICT, measures=measures(codes=1, mean_frame=0.0101, random_actions=0.0101))
    reasons = captions.reasons(event)
    assert len(reasons) == 2
    assert event["sentence"] == f"FAIL: {' Also: '.join(one[0].lower() + one[1:] for one in reasons)}"
    lines = figure.sentence_lines(reasons)
    assert " ".join(" ".join(lines).replace("– ", "").split()) == " ".join(reasons)
    assert max(map(len, lines)) <= figure.LETTERS


def test_a_sentence_without_end_is_cut_and_says_where_the_rest_is() -> None:
    lines = figure.sentence_lines(["word " * 2000])
    assert len(lines) == figure.MOST_LINES
    assert lines[-1] == "… the reports have the whole sentence"


def test_the_line_below_the_sentence_names_run_attempt_and_clips(tmp_path: Path) -> None:
    subtitle = captions.subtitle(judged(tmp_path, LENIENT, draw=2), "smoke_1", "smoke")
    assert subtitle == (
        "smoke_1 · profile smoke · attempt 2, final draw · 8 held-out clips of 4 episodes, which no attempt has seen · "
        "strict autoregressive (3 steps fed back) rollout, 4 frames from 2"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.01234, "0.0123"), (0.0004, "0.00040"), (0.00009, "0.000090"), (0.0, "0.0000"), (None, "no number")],
)
def test_small_errors_are_not_printed_as_zero(value: float | None, text: str) -> None:
    assert captions.mse_text(value) == text


# Choice


@pytest.mark.parametrize(
    ("errors", "broken", "chosen"),
    [
        ([0.3, 0.1, 0.2, 0.5, 0.4], (), [("best", 1), ("median", 0), ("worst", 3)]),
        ([0.3, 0.1, 0.2, 0.4], (), [("best", 1), ("median", 2), ("worst", 3)]),
        ([0.3, 0.1, 0.2], (1,), [("best", 2), ("median", 0), ("worst", 1)]),
        ([0.2, 0.2, 0.2], (), [("best", 0), ("median", 1), ("worst", 2)]),
        ([0.3, 0.1], (), [("best", 1), ("worst", 0)]),
        ([0.3], (), [("only", 0)]),
        ([], (), []),
    ],
)
def test_the_best_the_median_and_the_worst_clip_are_chosen(
    errors: list[float], broken: tuple[int, ...], chosen: list[tuple[str, int]]
) -> None:
    assert chosen_clips(errors, [index in broken for index in range(len(errors))]) == chosen


@given(st.integers(1, 100))
def test_at_most_eight_steps_are_shown_in_order_with_the_first_and_the_last(steps: int) -> None:
    shown = shown_steps(steps)
    assert len(shown) == min(steps, 8)
    assert list(shown) == sorted(set(shown))
    assert (shown[0], shown[-1]) == (1, steps)


@given(st.lists(st.floats(0, 10), min_size=1, max_size=9))
def test_labels_are_pushed_apart_within_their_room_and_keep_their_order(wanted: list[float]) -> None:
    wanted.sort()
    placed = spread(wanted, 1.0, 0.0, 10.0)
    assert all(after - before >= 1.0 - 1e-9 for before, after in pairwise(placed))
    assert min(placed) >= 0.0
    assert max(placed) <= 10.0 + 1e-9


def test_labels_with_room_stay_where_their_lines_end() -> None:
    assert spread([1.0, 3.0, 6.0], 1.0, 0.0, 10.0) == [1.0, 3.0, 6.0]


# Frames


@pytest.fixture
def attempt(tmp_path: Path) -> tuple[Path, Path]:
    """Measures and frames of three clips, generated at a known distance from the truth."""
    rng = np.random.default_rng(0)
    length = CONTEXT + STEPS
    frames = rng.integers(0, 200, (3 * length, SIZE, SIZE, 3), dtype=np.uint8)
    data = write_h5(tmp_path / "game_frames.h5", frames=frames, episode=np.repeat([0, 1, 2], length))
    true = frames.reshape(3, length, SIZE, SIZE, 3)[:, CONTEXT:]
    predicted = true + np.array(LEVELS, np.uint8)[:, None, None, None, None]
    write_generated(tmp_path / "measures_01_frames.h5", GeneratedFrames(predicted, predicted[:1], predicted[:1]))
    clips = [
        clip([(level / 255) ** 2] * STEPS, episode=number, start=number * length) for number, level in enumerate(LEVELS)
    ]
    origin = {"data_path": "elsewhere.h5", "stride": 1, "frame_size": SIZE, "context": CONTEXT}
    content = raw(clips, generated_frames="measures_01_frames.h5", **origin)
    return write_raw(tmp_path / "measures_01.json", content), data


def test_strips_show_the_frames_of_the_chosen_clips_with_errors_that_the_harness_computed(
    attempt: tuple[Path, Path],
) -> None:
    best, median, worst = read_strips(*attempt)
    for strip, rank, number in ((best, "best", 0), (median, "median", 2), (worst, "worst", 1)):
        assert (strip.rank, strip.episode, strip.start) == (rank, number, number * (CONTEXT + STEPS))
        assert strip.mse == pytest.approx((LEVELS[number] / 255) ** 2)
        assert strip.step_mse == pytest.approx([strip.mse] * STEPS)
        assert strip.error_SHW == pytest.approx(LEVELS[number] / 255)
        assert strip.stated_mse is None
        distance = strip.true_SHWC / 255 - strip.context_HWC / 255
        assert strip.copy_last_mse == pytest.approx(np.square(distance).mean())


def test_a_strip_says_so_when_another_error_was_stated(attempt: tuple[Path, Path], tmp_path: Path) -> None:
    clips = [clip([0.0004] * STEPS, start=number * (CONTEXT + STEPS)) for number in range(3)]
    clips[0]["rollout_mse"] = [math.nan] * STEPS
    content = raw(
        clips, data_path="x", stride=1, frame_size=SIZE, context=CONTEXT, generated_frames="measures_01_frames.h5"
    )
    _, _, worst = strips = read_strips(write_raw(tmp_path / "measures_01.json", content), attempt[1])
    assert (worst.start, worst.mse) == (0, pytest.approx((10 / 255) ** 2))
    assert math.isnan(worst.stated_mse or 0.0)
    assert [one.stated_mse for one in strips[:2]] == pytest.approx([0.0004, 0.0004])


def test_frames_that_are_gone_cut_or_of_other_clips_are_reported(attempt: tuple[Path, Path], tmp_path: Path) -> None:
    table = np.zeros((3, STEPS + 1, SIZE, SIZE, 3), np.uint8)
    write_generated(tmp_path / "measures_01_frames.h5", GeneratedFrames(table, table[:1], table[:1]))
    with pytest.raises(MeasuresError, match="3 x 4 frames of 8 x 8 px were generated where 3 x 3 frames"):
        read_strips(*attempt)
    (tmp_path / "measures_01_frames.h5").write_bytes(b"cut")
    with pytest.raises(DataError, match="is not an HDF5 file"):
        read_strips(*attempt)
    (tmp_path / "measures_01_frames.h5").unlink()
    with pytest.raises(DataError, match="wrote no generated frames"):
        read_strips(*attempt)
    for name in (None, "../measures_01_frames.h5"):
        path = write_raw(tmp_path / "other.json", raw([clip([0.1])], generated_frames=name))
        with pytest.raises(MeasuresError, match="do not name their frames"):
            read_strips(path, attempt[1])


def test_frames_are_enlarged_as_hard_pixels_and_made_smaller_as_means() -> None:
    frames = np.random.default_rng(1).integers(0, 256, (2, 4, 6, 3), dtype=np.uint8)
    assert (resized(frames, 12, 18) == frames.repeat(3, axis=1).repeat(3, axis=2)).all()
    halves = frames.reshape(2, 2, 2, 3, 2, 3).mean(axis=(2, 4))
    assert np.abs(resized(frames, 2, 3) - halves).max() <= 0.5
    assert resized(frames, 7, 11).mean() == pytest.approx(frames.mean(), abs=0.5)
    assert (resized(np.full((1, 5, 5, 3), 77, np.uint8), 13, 3) == 77).all()


# Pictures


def drawn(view: VerdictView, folder: Path) -> np.ndarray:
    save_to = folder / "inference_results" / "gate_verdict_01_run.png"
    figure.save_picture(view, save_to)
    assert [path.name for path in save_to.parent.iterdir()] == [save_to.name]
    assert save_to.stat().st_size < figure.MOST_BYTES
    pixels: np.ndarray = imread(save_to)
    return pixels


def test_the_picture_of_a_whole_attempt_is_a_page_wide_and_shows_the_strips(
    attempt: tuple[Path, Path], tmp_path: Path
) -> None:
    event = judged(tmp_path, STRICT)
    with_strips = drawn(verdict_view(event, "run", "smoke", read_strips(*attempt), ""), tmp_path)
    without = drawn(verdict_view(event, "run", "smoke", [], "the generated frames are gone"), tmp_path)
    assert with_strips.shape[1] == without.shape[1] == 1650
    assert 700 < without.shape[0] < with_strips.shape[0] < 4000
    assert with_strips[..., :3].std() > 0.05


def test_the_film_strip_is_the_median_clip_alone_and_only_where_there_is_one(
    attempt: tuple[Path, Path], tmp_path: Path
) -> None:
    view = verdict_view(judged(tmp_path, STRICT), "run", "smoke", read_strips(*attempt), "")
    assert figure.save_film_strip(view, tmp_path / "strip.png")
    assert 200 < imread(tmp_path / "strip.png").shape[0] < drawn(view, tmp_path).shape[0] / 2
    texts = [text.get_text() for text in figure.draw_film_strip(view.strips[1:2], 3, 50).texts]
    assert "Median clip of 3" in texts
    assert "Best clip of 3" not in texts
    without = verdict_view(judged(tmp_path, STRICT), "run", "smoke", [], "the generated frames are gone")
    assert not figure.save_film_strip(without, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_a_verdict_without_measures_is_a_picture_of_the_sentence_and_the_reason(tmp_path: Path) -> None:
    event = judged(tmp_path, LENIENT, measures=None, measures_problem="the run left no measures")
    view = verdict_view(event, "run", None, [], "the run left no measures")
    assert (view.chart, view.control, view.strips) == (None, None, ())
    assert view.left_out == ("No film strips: the run left no measures",)
    assert 200 < drawn(view, tmp_path).shape[0] < 1000


def test_values_that_are_not_numbers_and_characters_without_a_glyph_are_drawn(tmp_path: Path) -> None:
    broken = measures(mse=math.nan)
    event = judged(tmp_path, STRICT, measures=broken)
    event["sentence"] = "FAIL: $\\frac{1}{$ 世界 \x1b[31m api_key=" + "s3cr3t" * 8
    view = verdict_view(event, "run_$_x", "smoke", [], "")
    assert view.reasons[0].endswith("api_key=[redacted]")
    assert "\x1b" not in view.reasons[0]
    of_frames = ("objects found / right", "foreign context costs")
    assert {card.value for card in view.cards[:6] if card.name not in of_frames} == {captions.NO_NUMBER}
    assert drawn(view, tmp_path).shape[1] == 1650


def test_frames_that_cannot_be_compressed_make_a_coarser_picture_and_no_larger_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figure, "MOST_BYTES", 900_000)
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (2, 8, 128, 128, 3), dtype=np.uint8)
    strip = Strip("worst", 0, 0, 0.1, None, 0.1, tuple(range(1, 9)), (0.1,) * 8, noise[0, 0], noise[0], noise[1])
    view = verdict_view(judged(tmp_path, STRICT), "run", "smoke", [strip], "")
    assert drawn(view, tmp_path).shape[1] == 11 * figure.DPIS[1]


@pytest.mark.parametrize("verdict", VERDICTS)
def test_every_verdict_has_its_word_and_a_mark_and_not_only_a_colour(verdict: str) -> None:
    view = VerdictView(verdict, ["A reason."], "run", [], None, None, (), 0, ())
    texts = [text.get_text() for text in figure.draw(view, 50).texts]
    assert texts[:2] == [f"{figure.MARKS[verdict]} {verdict}", "A reason."]
