"""Rare faults measured on small games: no turns, a frozen display, an extra object now and then."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from tests.helpers.object_games import CONTEXT, Game, games, generated, rollouts
from tinyworlds_gate.gate.measures.objects.cells import blur
from tinyworlds_gate.gate.measures.objects.measure import measure_objects
from tinyworlds_gate.gate.rare_rule import extra_faults, rare_faults

BAR = 8
"""Rows of the display, at the bottom."""
CLIPS = 40


def faults(context: np.ndarray, true: np.ndarray, made: np.ndarray) -> list[str]:
    record = measure_objects(context, true, made, np.arange(len(true)))
    return [*rare_faults(record), *extra_faults(record, 0.8)]


@cache
def played() -> tuple[list[Game], np.ndarray, np.ndarray]:
    clips = games(5, clips=CLIPS, scroll=False)
    return clips, *rollouts(clips)


def gone_at_a_turn(game: Game, *, axis: int) -> Game:
    """The game without an object from the frame on in which it turns in one direction."""
    places = game.places.copy()
    for which in range(places.shape[1]):
        steps = np.sign(np.diff((places[:, which] - game.view)[:, axis]))
        turns = np.flatnonzero(steps[1:] * steps[:-1] < 0) + 2
        turns = turns[turns >= CONTEXT]
        if len(turns):
            places[turns[0] :, which] = -1
    return replace(game, places=places)


@pytest.mark.slow
@pytest.mark.requirement("G6")
@pytest.mark.parametrize(("axis", "name"), [(0, "turn up or down"), (1, "turn left or right")])
def test_objects_that_are_gone_where_they_should_turn_fail_by_name(axis: int, name: str) -> None:
    clips, context, true = played()
    found = faults(context, true, generated(clips, lambda game: gone_at_a_turn(game, axis=axis)))
    assert any(f"objects that {name}: " in one for one in found), found


@pytest.mark.slow
@pytest.mark.requirement("G6")
def test_a_model_that_has_half_of_the_turns_does_not_fail_by_them() -> None:
    clips, context, true = played()
    lost = generated(clips, lambda game: gone_at_a_turn(gone_at_a_turn(game, axis=0), axis=1))
    half = np.where((np.arange(CLIPS) % 2 == 0)[:, None, None, None, None], lost, true)
    assert faults(context, true, half) == []
    assert faults(context, true, true) == []


def with_display(frames: np.ndarray, *, changes: bool) -> np.ndarray:
    """Frames [N, T, H, W, 3] over a black bar with a white number that changes once in each clip."""
    drawn = frames.copy()
    drawn[:, :, -BAR:] = 0
    for clip in range(len(drawn)):
        for time in range(drawn.shape[1]):
            left = 8 if changes and time >= CONTEXT + 1 + clip % 8 else 24
            drawn[clip, time, -BAR + 2 : -2, left : left + 5] = 250
    return drawn


@pytest.mark.requirement("G6")
def test_a_display_that_never_changes_fails_by_its_place() -> None:
    frames = np.concatenate(rollouts(games(6)), axis=1)
    true, still = (with_display(frames, changes=changes) for changes in (True, False))
    late = true.copy()
    late[:, 1:, -BAR:] = true[:, :-1, -BAR:]
    found = faults(true[:, :CONTEXT], true[:, CONTEXT:], still[:, CONTEXT:])
    assert any(one.startswith("changes of the display of ") for one in found), found
    for honest in (true, late):
        assert faults(true[:, :CONTEXT], true[:, CONTEXT:], honest[:, CONTEXT:]) == []


def with_number(frames: np.ndarray, glyphs: np.ndarray) -> np.ndarray:
    """Frames [N, T, H, W, 3] over a black bar with a glyph, that changes once in each clip to the next one."""
    drawn = frames.copy()
    drawn[:, :, -BAR:] = 0
    for clip in range(len(drawn)):
        for time in range(drawn.shape[1]):
            glyph = glyphs[clip % 2 + (time >= CONTEXT + 1 + clip % 8)]
            drawn[clip, time, -BAR + 1 : -1, 8:20] = np.where(glyph, 250, 0)[..., None]
    return drawn


@pytest.mark.requirement("G6")
@pytest.mark.parametrize("shown", ["noise", "upside down", "another number", "one frame late", "blurred"])
def test_a_display_must_show_the_right_picture_not_only_change(shown: str) -> None:
    frames = np.concatenate(rollouts(games(6)), axis=1)
    generator = np.random.default_rng(0)
    glyphs = generator.random((4, BAR - 2, 12)) < 0.5
    true = with_number(frames, glyphs)
    made = true.copy()
    for clip, first in enumerate(CONTEXT + 1 + np.arange(len(true)) % 8):
        number, late = true[clip, first, -BAR + 1 : -1, 8:20], made[clip, first:, -BAR + 1 : -1, 8:20]
        if shown == "noise":
            changed = (true[clip, first] != true[clip, first - 1]).any(axis=-1)
            changed[:-BAR] = False
            made[clip, first:, changed] = generator.integers(0, 256, (int(changed.sum()), 1, 3))
        elif shown == "upside down":
            late[:] = number[::-1]
        elif shown == "another number":
            late[:] = np.where(glyphs[3], 250, 0)[..., None]
        elif shown == "one frame late":
            made[clip, first, -BAR:] = true[clip, first - 1, -BAR:]
    if shown == "blurred":
        made = np.stack([np.rint(blur(one.astype(np.float32), 1.0)).astype(np.uint8) for one in made])
    found = faults(true[:, :CONTEXT], true[:, CONTEXT:], made[:, CONTEXT:])
    named = any(one.startswith("changes of the display of ") for one in found)
    assert named == (shown in ("noise", "upside down", "another number")), found


@pytest.mark.requirement("G6")
def test_an_extra_object_in_few_frames_fails_by_its_kind() -> None:
    _, context, true = played()
    made = true.copy()
    for clip in range(0, CLIPS, 2):
        made[clip, 2:5, 20:26, 30:36] = (40, 220, 250)
    assert any(
        "are generated where the true frames show nothing like them" in one for one in faults(context, true, made)
    )
