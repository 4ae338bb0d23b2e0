"""Commands that cheat: each is INVALID with a sentence, or scored as without the cheat; the honest ones are scored.

A try counts as accepted when it has a score that the honest checkpoints (or frames) would not have got.

    pytest tests/unit/budget/test_cheats.py -m "slow or not slow"
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any

import pytest

from tests.unit.budget import cheats
from tests.unit.budget.world import SECONDS, Outcome, World, make_world
from tinyworlds_gate.budget.confine import can_leave_network, landlock_version
from tinyworlds_gate.budget.run_command import LATE_S

needs_landlock = pytest.mark.skipif(landlock_version() == 0, reason="this kernel has no Landlock")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")


@dataclass(frozen=True)
class Cheat:
    """A cheat, what becomes of it, and what its log must show."""

    name: str
    invalid: str | None = None
    """What the reason must match; None: it is scored as the honest checkpoints."""
    log: str = ""
    options: tuple[str, ...] = ()
    seconds: float = SECONDS


ALONE = r"devices: \['lo'\]; left by others: \[\]" if can_leave_network() else ""
PREDICT = ("--predict-seconds", "20", "--predict")


def confined(*rows: Cheat) -> list[Any]:
    return [pytest.param(one, True, id=f"{one.name}-landlock", marks=needs_landlock) for one in rows]


def unconfined(*rows: Cheat) -> list[Any]:
    return [pytest.param(one, False, id=f"{one.name}-without") for one in rows]


REFUSED = confined(
    Cheat("reads_the_held_out_file", log="read: refused"),
    Cheat("links_the_held_out_file", log="link: refused"),
    Cheat("patches_the_judge", log="patch: refused"),
    Cheat("edits_an_earlier_line", log="edit: refused"),
    Cheat("rewrites_the_leaderboard_with_its_head", log="rewrite: refused"),
    Cheat("removes_the_leaderboard", log="remove: refused"),
    Cheat("kills_the_harness", log="kill: refused"),
    Cheat("stops_the_harness", log="stop: refused"),
    Cheat("changes_the_training_frames", log="frames: refused"),
    Cheat("plants_startup_files", log="sitecustomize.py: refused"),
    Cheat("prints_a_result", log="result: refused"),
    Cheat("reads_the_harness_memory", log="memory: refused"),
)
"""The system does not let it happen, so the try is scored as an honest one."""
FOUND_OUT = unconfined(
    Cheat("reads_the_held_out_file", invalid="all.h5 was opened"),
    Cheat("links_the_held_out_file", invalid="all.h5 was opened, changed or linked"),
    Cheat("patches_the_judge", invalid="summary.py was changed"),
    Cheat("patches_and_mends_the_judge", invalid="score.py was changed"),
    Cheat("edits_an_earlier_line", invalid="the leaderboard was changed"),
    Cheat("adds_a_line", invalid="the leaderboard was changed"),
    Cheat("rewrites_the_leaderboard_with_its_head", invalid="the leaderboard was changed"),
    Cheat("removes_the_leaderboard", invalid="the leaderboard was removed"),
    Cheat("stops_the_harness", invalid=r"ran for \d+\.\d s, but the budget is 6 s", log="stop: went through"),
    Cheat("changes_the_training_frames", invalid="the training frames, was changed"),
    Cheat("plants_modules_beside_the_judge", invalid=r"code/\w+\.py was added", log="numpy.py: went through"),
    Cheat("plants_compiled_code", invalid=r"score_text\..*pyc was added"),
    Cheat("changes_compiled_code", invalid=r"score_text\..*pyc was changed"),
    Cheat("makes_the_folder_of_the_judge", invalid="judge appeared"),
)
"""It happens, and the harness notices it."""
NO_MODEL = unconfined(
    Cheat("nothing", invalid="left no checkpoint of video_tokenizer"),
    Cheat("ignores_the_end", invalid="left no checkpoint"),
    Cheat("more_codes", invalid="n_actions of the checkpoints is 64; at most 16"),
    Cheat("smaller_frames", invalid="frame_size of the checkpoints is 8, but the frames have 16 x 16 px"),
    Cheat("weights_of_nan", invalid="NaN"),
    Cheat("code_in_a_checkpoint", invalid="the judge could not measure it"),
    Cheat("links_a_checkpoint", invalid="symbolic link"),
    Cheat("links_a_folder", invalid="is a link or a file, no folder"),
    Cheat("a_fifo_as_checkpoint", invalid="no regular file"),
    Cheat("too_much_output", invalid="more than 16.0 MiB"),
    Cheat("renames_the_output", invalid="replaced by a link"),
    Cheat("claims_that_it_is_not_confined", invalid="cannot be confined"),
)
"""What it left is not a model that can be measured."""
WITHOUT_EFFECT = unconfined(
    Cheat("honest"),
    Cheat("goes_on_in_the_background"),
    Cheat("reads_the_harness_memory", log="memory: refused"),
    Cheat("attaches_to_the_harness", log="ptrace: refused"),
    Cheat("plants_startup_files", log="sitecustomize.py: went through"),
    Cheat("prints_a_result", log="result: went through"),
    Cheat("writes_to_the_terminal_of_the_harness", log="stdout of the harness: refused"),
    Cheat("asks_another_machine", log=ALONE),
    Cheat("sets_the_clock", log="clock: refused"),
    Cheat("folders_that_stay"),
    Cheat("a_huge_sparse_file", log="sparse: refused"),
)
"""It happens, and the score is that of the honest checkpoints."""
HONEST = confined(Cheat("honest"), Cheat("goes_on_in_the_background"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The folder of all tries of this module, with one honest try on its leaderboard."""
    made = make_world(tmp_path_factory.mktemp("cheats"))
    first = made.run("honest")
    assert first.result is not None, first.errors
    assert first.result["status"] == "SCORED", first.result
    return made


@pytest.fixture(autouse=True)
def untouched(world: World) -> Iterator[None]:
    """After every try: no process is left, no planted code ran, and earlier lines are as they were."""
    before = world.tries()
    yield
    assert world.end_strays() == []
    assert not world.mark.exists()
    assert world.tries()[: len(before)] == before


@pytest.mark.slow
@pytest.mark.parametrize(("cheat", "landlock"), [*HONEST, *REFUSED, *FOUND_OUT, *NO_MODEL, *WITHOUT_EFFECT])
def test_no_cheat_is_accepted(cheat: Cheat, landlock: bool, world: World) -> None:
    before = world.tries()
    if cheat.name == "plants_compiled_code":
        Path(cache_from_source(str(world.root / "code/tinyworlds_gate/cli/score_text.py"))).unlink()
    began = time.monotonic()
    outcome = world.run(cheat.name, *cheat.options, landlock=landlock, seconds=cheat.seconds)
    result = outcome.result
    assert result is not None, outcome.errors
    assert time.monotonic() - began < 280
    assert re.search(cheat.log, outcome.log), outcome.log
    assert outcome.exit_code == 1  # an untrained model does not pass
    assert result["protection"]["landlock"] is landlock
    written = world.tries()[len(before) :]
    assert [event["event"] for event in written] == ["try_started", "try_finished"]
    assert {key: written[1].get(key) for key in result if key != "leaderboard"} == {
        key: value for key, value in result.items() if key != "leaderboard"
    }
    assert not (outcome.folder / "work").exists()
    if cheat.invalid is not None:
        assert result["status"] == "INVALID"
        assert re.search(cheat.invalid, result["reason"]), result["reason"]
        assert "score" not in result
        if "the judge's program changed" in result["reason"]:
            world.install_anew()
    else:
        require_honest_score(result, world)


def require_honest_score(result: dict[str, Any], world: World) -> None:
    """The weights are those of the honest try, measured with its settings on new clips of the same number."""
    honest = next(event for event in world.tries() if event["event"] == "try_finished")
    assert result["status"] == "SCORED", result["reason"]
    assert result["hashes"]["weights"] == honest["hashes"]["weights"]
    assert result["same_weights_as_try"] == 1
    assert result["settings"] == honest["settings"]
    assert result["clips"]["count"] == honest["clips"]["count"] == 24
    assert result["clips"]["digest"] != honest["clips"]["digest"]
    assert abs(result["score"]["mse"] - honest["score"]["mse"]) < 0.03
    assert result["verdict"] == "FAIL"
    assert result["seconds"]["train"]["used"] <= SECONDS + LATE_S


@pytest.mark.slow
def test_a_try_whose_harness_was_killed_stays_on_the_leaderboard_without_a_score(world: World) -> None:
    before = world.tries()
    outcome = world.run("kills_the_harness", landlock=False)
    assert outcome.result is None
    assert outcome.exit_code == -9
    assert [event["event"] for event in world.tries()[len(before) :]] == ["try_started"]
    again = world.run("honest", landlock=False)
    assert again.result is not None
    assert again.result["status"] == "SCORED"


def predicted(world: World, by: str, *, landlock: bool = True) -> Outcome:
    return world.run("honest", *PREDICT, f"{sys.executable} {cheats.__file__} {by}", landlock=landlock)


@pytest.mark.slow
@pytest.mark.parametrize("landlock", [pytest.param(True, marks=needs_landlock), False])
def test_frames_are_measured_against_the_judges_own_truth(landlock: bool, world: World) -> None:
    """Copying the last frame scores the error of copying the last frame, whatever else lies in the file."""
    for by in ("predicts", "predicts_with_its_own_truth", "looks_for_the_truth"):
        outcome = predicted(world, by, landlock=landlock)
        result = outcome.result
        assert result is not None, outcome.errors
        assert result["status"] == "SCORED", result["reason"]
        assert result["score"]["mse"] == pytest.approx(result["baseline"]["copy_last_mse"], rel=1e-3)
        assert result["score"]["mse"] > 0.05
    assert "files: ['contexts.h5', 'frames.h5', 'work/output/generated.h5']" in outcome.log
    assert "memory: refused" in outcome.log


@pytest.mark.slow
@pytest.mark.parametrize(
    ("by", "reason"),
    [("predicts_nan", "float64; .* and uint8 are needed"), ("predicts_by_link", "link"), ("nothing", "is missing")],
)
def test_frames_that_are_none_are_invalid(by: str, reason: str, world: World) -> None:
    outcome = predicted(world, by)
    assert outcome.result is not None, outcome.errors
    assert outcome.result["status"] == "INVALID"
    assert re.search(reason, outcome.result["reason"]), outcome.result["reason"]
