"""What a person reads first of a comparison.

pytest tests/unit/compare/test_sentences.py
"""

from __future__ import annotations

from tests.unit.compare.cards import made_card
from tinyworlds_gate.compare.comparison import compare
from tinyworlds_gate.compare.sentences import amount_text, visible_text
from tinyworlds_gate.compare.table import comparison_text


def test_the_table_has_every_effect_and_each_note_once() -> None:
    text = comparison_text(compare([[made_card(0)]], [[made_card(1, factor=3.0)]], speed=True))
    assert text.startswith("WORSE: error rose from 0.0")
    assert "A: seed 0 (seed 0; MSE 0.0" in text
    assert " ".join(text.split()).count("the spread of seeds of the profile smoke") == 1
    assert "question: these recipes, with any seed" in text
    assert "inference speed" in text
    assert "NOT-MEASURED" in text
    assert max(map(len, text.splitlines())) < 170


def test_what_cannot_be_compared_is_two_names_and_a_reason() -> None:
    text = comparison_text(compare([[made_card(0)]], [[made_card(1, first=700)]]))
    assert text.splitlines()[0].startswith("NOT-COMPARABLE: other clips")
    assert "change" not in text


def test_the_visible_change_is_told_in_the_words_of_the_question() -> None:
    assert visible_text(0.24, "recipes", (1, 1)).startswith("With one model a side, a change of the error below 24 %")
    assert "3 against 2 models" in visible_text(0.05, "recipes", (3, 2))
    assert visible_text(0.031, "models", (1, 1)) == "A change of the error below 3.1 % is not visible on these clips."


def test_amounts_have_their_sign_and_unit() -> None:
    effects = {one.key: one for one in compare([[made_card(0)]], [[made_card(1)]]).effects}
    assert amount_text(effects["error"], 0.314) == "+31 %"
    assert amount_text(effects["error"], -0.02) == "-2.0 %"
    assert amount_text(effects["recall"], -0.25) == "-25.0 points"
    assert amount_text(effects["control"], 1.5) == "+1.50 dB"
