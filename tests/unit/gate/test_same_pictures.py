"""A failure on one game counts under any name and storage of its frames; one on another game does not.

pytest tests/unit/gate/test_same_pictures.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.helpers import gate_evidence
from tests.helpers.grid_games import bouncing_ball, grid_game
from tests.unit.gate.test_earlier_verdicts import BAD, CONFIG, LIMITS, LONG, WEIGHTS
from tinyworlds_gate.gate.earlier_verdicts import Present, earlier_verdicts
from tinyworlds_gate.gate.same_pictures import show_one_game
from tinyworlds_gate.power.world import play
from tinyworlds_gate.reference.rollout.generated_frames import GeneratedFrames, write_generated
from tinyworlds_gate.run.journal import Journal

STEPS = 6
LAMPS = CONFIG | LONG | {"inference.dataset": "LAMPS"}


def level(seed: int) -> np.ndarray:
    """Return frames of textured rooms, another one for each episode, with three agents."""
    rng = np.random.default_rng(seed)
    rooms = rng.integers(0, 90, (20, 1, 8, 8, 3)).astype(np.uint8).repeat(8, 2).repeat(8, 3)
    return grid_game(seed, 20, STEPS, cells=8, agents=3) // 2 + rooms


GAMES = {
    "one agent": lambda seed: grid_game(seed, 20, STEPS, cells=8),
    "rooms": level,
    "a ball": lambda seed: bouncing_ball(seed, 20, STEPS, paddle=True),
    "lamps": lambda seed: play(seed, 20, STEPS)[0],
}


def attempt(folder: Path, frames_BSHWC: np.ndarray) -> Path:
    """Write what an attempt left, each clip with an episode of its own; return its measures file."""
    folder.mkdir(parents=True, exist_ok=True)
    write_generated(folder / "generated.h5", GeneratedFrames(frames_BSHWC))
    clips = [gate_evidence.clip([BAD] * STEPS, episode=number) for number in range(len(frames_BSHWC))]
    content = gate_evidence.raw(clips, generated_frames="generated.h5")
    return gate_evidence.write_raw(folder / "measures.json", content)


@pytest.mark.requirement("H3", "G5")
@pytest.mark.parametrize("game", GAMES)
def test_other_episodes_of_a_game_are_that_game_and_other_games_are_not(game: str, tmp_path: Path) -> None:
    own = attempt(tmp_path / "own", GAMES[game](1))
    noise = np.random.default_rng(3).integers(-3, 4, (20, STEPS, 1, 1, 3))
    again = np.clip(GAMES[game](2).astype(int) + noise, 0, 255).astype(np.uint8)
    assert show_one_game(own, attempt(tmp_path / "again", again))
    for other in GAMES:
        assert show_one_game(own, attempt(tmp_path / "other", GAMES[other](2))) is (other == game)


def test_files_that_are_gone_or_damaged_show_nothing(tmp_path: Path) -> None:
    own = attempt(tmp_path / "own", GAMES["a ball"](1))
    assert not show_one_game(own, tmp_path / "gone.json")
    for damage in ("measures.json", "generated.h5"):
        other = attempt(tmp_path / "other", GAMES["a ball"](1))
        (tmp_path / "other" / damage).write_bytes(b"?")
        assert not show_one_game(own, other)


@pytest.mark.requirement("H3", "G5")
@pytest.mark.parametrize(("played", "found"), [("a ball", 1), ("rooms", 0)])
@pytest.mark.parametrize("knobs", [{}, {"inference.temperature": 0.5}])
def test_a_failure_counts_under_another_name_if_the_generated_frames_show_the_same_game(
    played: str, found: int, knobs: dict[str, float], tmp_path: Path
) -> None:
    attempt(tmp_path / "old", GAMES[played](1))
    bound = {"checkpoints": WEIGHTS, "clip_digest": "final", "config": LAMPS, "dataset_sha256": "5" * 64}
    key = {"attempt": 1, "draw": 1}
    with Journal(tmp_path / "old" / "journal.jsonl") as journal:
        journal.append("inference_finished", **key, exit_code=0, measures_file="results/old/measures.json")
        measures = gate_evidence.measures(mse=BAD).as_dict()
        said = {"verdict": "FAIL", "sentence": "FAIL: too large.", "conditions": [], "measures": measures}
        journal.append("gate_verdict", **key, **said, binding=bound)
    renamed = LAMPS | knobs | {"inference.dataset": "OTHER"}
    now = {"config": renamed, "clip_digest": "attempts", "dataset_sha256": "6" * 64}
    measures_file = attempt(tmp_path / "now", GAMES["a ball"](2))
    present = Present(tmp_path, "now", WEIGHTS, now, LIMITS, measures=measures_file)
    failures = earlier_verdicts(present).failures
    assert [one["run"] for one in failures] == ["results/old"] * found
