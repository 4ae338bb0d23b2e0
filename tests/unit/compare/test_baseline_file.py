"""docs/baseline.json: written small and readable, and an edit, another schema or another recipe is refused.

pytest tests/unit/compare/test_baseline_file.py
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.compare.cards import made_card
from tinyworlds_gate.compare.baseline_file import (
    AcceptedRun,
    BaselineError,
    baseline_with,
    is_baseline,
    read_baseline,
)
from tinyworlds_gate.gate.scorecard import Scorecard


def accepted(card: Scorecard) -> AcceptedRun:
    return AcceptedRun(card.name, "PASS", "PASS: good", "2026_11_30_10_00_00", {"commit": "abc"}, (card,))


def written(path: Path, *cards: Scorecard) -> Path:
    path.write_text(baseline_with([accepted(card) for card in cards]).as_text(), encoding="utf-8")
    return path


def test_a_baseline_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = written(tmp_path / "baseline.json", made_card(0), made_card(1))
    again = read_baseline(path)
    assert [one.run for one in again.accepted] == ["seed 0", "seed 1"]
    assert again.entries == [(made_card(0),), (made_card(1),)]
    assert is_baseline(path)


def test_a_clip_is_a_line_so_that_a_diff_shows_it(tmp_path: Path) -> None:
    one, other = (written(tmp_path / name, made_card(0, factor=factor)) for name, factor in (("a", 1.0), ("b", 1.001)))
    lines = [set(path.read_text(encoding="utf-8").splitlines()) for path in (one, other)]
    differing = lines[0] ^ lines[1]
    assert len(differing) == 2 * (64 + 2)  # the clips, the weights, and the hash of the whole
    assert max(map(len, differing)) < 400


def test_another_line_end_or_indent_is_no_edit(tmp_path: Path) -> None:
    path = written(tmp_path / "baseline.json", made_card(0))
    path.write_text(
        json.dumps(json.loads(path.read_text(encoding="utf-8")), indent=4).replace("\n", "\r\n"), encoding="utf-8"
    )
    assert read_baseline(path).accepted[0].run == "seed 0"


def edit(path: Path, **fields: Any) -> Path:
    data = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**data, **fields}), encoding="utf-8")
    return path


def test_an_edited_error_is_seen(tmp_path: Path) -> None:
    path = written(tmp_path / "baseline.json", made_card(0))
    text = path.read_text(encoding="utf-8")
    error = str(made_card(0).clips[0].error)
    assert error in text
    path.write_text(text.replace(error, "0.5", 1), encoding="utf-8")
    with pytest.raises(BaselineError, match="the baseline was edited"):
        read_baseline(path)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"schema": "other"}, "it is no baseline"),
        ({"version": 7}, "has version 7, this program reads version 1"),
        ({"accepted": []}, "the baseline was edited"),
        ({"sha256": "0" * 64}, "the baseline was edited"),
    ],
)
def test_what_is_no_baseline_of_ours_is_refused_in_a_sentence(
    tmp_path: Path, fields: dict[str, Any], reason: str
) -> None:
    path = edit(written(tmp_path / "baseline.json", made_card(0)), **fields)
    with pytest.raises(BaselineError, match=reason) as raised:
        read_baseline(path)
    assert "accept results/RUN" in str(raised.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BaselineError, match="cannot be read"):
        read_baseline(tmp_path / "none.json")
    assert not is_baseline(tmp_path / "none.json")


def test_a_model_counts_once() -> None:
    with pytest.raises(BaselineError, match="have the same weights"):
        baseline_with([accepted(made_card(0)), accepted(made_card(0))])


def test_a_touched_copy_of_a_model_is_no_other_seed() -> None:
    one = accepted(made_card(0))
    clips = tuple(replace(clip, error=clip.error * 1.0001) for clip in one.cards[0].clips)
    copy = replace(one.cards[0], clips=clips, weights={"dynamics": "e" * 64}, name="copy")
    with pytest.raises(BaselineError, match="are one model"):
        baseline_with([one, replace(one, run="another", cards=(copy,))])


def test_runs_on_other_clips_are_no_baseline_together() -> None:
    with pytest.raises(BaselineError, match="cannot be one baseline: other clips"):
        baseline_with([accepted(made_card(0)), accepted(made_card(1, first=500))])
