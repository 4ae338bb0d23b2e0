"""What a scorecard holds, and that a damaged one is refused in one sentence.

pytest tests/unit/gate/test_scorecard.py
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.compare.cards import made_card
from tinyworlds_gate.gate.measures.baselines import baselines
from tinyworlds_gate.gate.measures.clip_facts import ClipFacts
from tinyworlds_gate.gate.measures.objects.measure import ObjectCounts, count_objects
from tinyworlds_gate.gate.measures.recomputed_errors import recomputed
from tinyworlds_gate.gate.scorecard import (
    Scorecard,
    ScorecardError,
    clip_scores,
    digest_of,
    read_scorecard,
    same_content,
    scorecard_of,
    scorecard_path,
)
from tinyworlds_gate.reference.rollout.generated_frames import GeneratedFrames


def facts_of(context: np.ndarray, true: np.ndarray, episodes: np.ndarray) -> ClipFacts:
    copied = np.square((true.astype(int) - context[:, -1:]) / 255).mean(axis=(2, 3, 4))
    known = baselines(context, true, episodes, None)
    return ClipFacts("f.h5", "", true, context, episodes, copied, None, "", None, None, known)


def clips(seed: int = 0, count: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (count, 5, 8, 8, 3), dtype=np.uint8)
    return frames[:, :2], frames[:, 2:], np.arange(count) // 2


def counts(clips: int) -> ObjectCounts:
    each = np.arange(clips)
    return ObjectCounts(
        each + 2, each, each + 1, (({"colour": "#102030", "height_px": 2, "width_px": 3}, each + 1, each),)
    )


def test_each_clip_has_its_own_errors_objects_and_digest() -> None:
    context, true, episodes = clips()
    made = np.clip(true.astype(int) + 10, 0, 255).astype(np.uint8)
    random = np.zeros_like(true)
    scores = clip_scores(
        facts_of(context, true, episodes), recomputed(GeneratedFrames(made, random=random), true), counts(6)
    )
    assert [one.episode for one in scores] == [0, 0, 1, 1, 2, 2]
    for number, one in enumerate(scores):
        off = np.square((made[number].astype(float) - true[number]) / 255).mean()
        assert one.error == pytest.approx(off, rel=1e-5)
        assert one.random == pytest.approx(np.square(true[number] / 255.0).mean(), rel=1e-5)
        assert one.strongest <= one.copy_last * 1.2
        assert (one.true, one.found, one.generated, one.kinds) == (
            number + 2,
            number,
            number + 1,
            ((number + 1, number),),
        )
        assert one.digest == digest_of(context[number], true[number])
    assert len({one.digest for one in scores}) == 6


def test_a_clip_that_is_there_twice_counts_once_with_its_larger_error() -> None:
    context, true, episodes = clips()
    context[1], true[1] = context[0], true[0]
    made = true.copy()
    made[1] = 255 - made[1]
    scores = clip_scores(facts_of(context, true, episodes), recomputed(GeneratedFrames(made), true), counts(6))
    assert len(scores) == 5
    assert scores[0].error > 0
    assert all(one.random is None for one in scores)


def test_the_digest_depends_on_every_frame_and_on_where_the_context_ends() -> None:
    context, true, _ = clips()
    first = digest_of(context[0], true[0])
    other = true[0].copy()
    other[-1, -1, -1, -1] ^= 1
    assert digest_of(context[0], other) != first
    whole = np.concatenate([context[0], true[0]])
    assert digest_of(whole[:3], whole[3:]) != first


def test_the_counts_of_the_clips_add_up_to_the_rates_of_the_gate() -> None:
    rng = np.random.default_rng(3)
    frames = np.full((12, 6, 64, 64, 3), 40, np.uint8)
    for clip in range(12):
        y = int(rng.integers(8, 50))
        for step in range(6):
            frames[clip, step, y : y + 5, 8 + 6 * step : 13 + 6 * step] = (200, 60, 60)
    made = frames[:, 2:].copy()
    made[:4] = 40
    record, found = count_objects(frames[:, :2], frames[:, 2:], made, np.arange(12))
    assert found.true.sum() == record["sightings"] > 30
    assert found.found[:4].sum() == 0
    assert found.found.sum() / found.true.sum() == pytest.approx(record["recall"])
    assert found.found.sum() / found.generated.sum() == pytest.approx(record["precision"])
    assert sum(true.sum() for _, true, _ in found.kinds) <= found.true.sum()


def test_a_scorecard_comes_back_as_it_was_written(tmp_path: Path) -> None:
    card = made_card(3)
    path = scorecard_path(tmp_path / "measures_01.json")
    path.write_text(card.as_text(), encoding="utf-8")
    assert path.name == "measures_01_scorecard.json"
    again = read_scorecard(path)
    assert again == card
    assert again.clip_set == card.clip_set != made_card(3, first=1).clip_set
    assert len(path.read_text(encoding="utf-8").splitlines()) > len(card.clips)


def test_the_speed_alone_is_no_other_content() -> None:
    card = made_card(0)
    plain = card.as_dict()
    assert same_content(card, scorecard_of({**plain, "frames_per_s": 3.5}, "x"))
    assert not same_content(card, made_card(0, factor=1.1))


def changed(**fields: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda plain: {**plain, **fields}


def first_clip(place: int, value: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def change(plain: dict[str, Any]) -> dict[str, Any]:
        plain["clips"][0][place] = value
        return plain

    return change


DAMAGE: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "another schema": (changed(schema="something"), "it is no scorecard"),
    "a later version": (changed(version=2), "has version 2; this program reads version 1"),
    "no clips": (changed(clips=[]), "it has no clips"),
    "a clip twice": (lambda plain: {**plain, "clips": [plain["clips"][0]] * 2}, "a clip is in it twice"),
    "a negative error": (first_clip(2, -0.1), "not a number from 0"),
    "an error in words": (first_clip(2, "0.1"), "not a number from 0"),
    "a digest that is none": (first_clip(0, "../x"), "no digest of 16"),
    "an episode that is none": (first_clip(1, 1.5), "no whole number as its episode"),
    "more found than there are": (first_clip(7, 99), "more objects found"),
    "other columns": (changed(columns=["digest"]), "it has other columns"),
    "no weights": (changed(weights={"dynamics": "x"}), "no SHA-256"),
    "a field less": (lambda plain: {key: one for key, one in plain.items() if key != "settings"}, "settings"),
    "a kind with markup": (changed(kinds=[{"colour": "<b>", "height_px": 1, "width_px": 1}] * 2), "a kind of objects"),
    "a list": (lambda plain: [plain], "it is no scorecard"),  # type: ignore[dict-item, return-value]
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_scorecard_is_refused_in_a_sentence(case: str) -> None:
    change, reason = DAMAGE[case]
    plain = json.loads(json.dumps(made_card(0).as_dict()))
    with pytest.raises(ScorecardError, match=reason) as raised:
        scorecard_of(change(plain), "card.json")
    assert str(raised.value).startswith("card.json: ")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "reason"), [(b"{", "not JSON"), (b'{"a": NaN}', "not JSON"), (None, "cannot be read")]
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "card.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ScorecardError, match=reason):
        read_scorecard(path)


def test_an_empty_scorecard_has_no_place() -> None:
    with pytest.raises(ScorecardError, match="it is no file"):
        read_scorecard(Path())
    assert isinstance(made_card(0), Scorecard)
