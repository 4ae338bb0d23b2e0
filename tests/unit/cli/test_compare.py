"""`tinyworlds-gate compare`: its sides, its exit codes, its JSON and its picture.

pytest tests/unit/cli/test_compare.py
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from matplotlib.image import imread

from tests.unit.compare.cards import made_card
from tests.unit.compare.test_baseline_file import written
from tinyworlds_gate.cli.main import main
from tinyworlds_gate.gate.scorecard import Scorecard, read_scorecard


def saved(path: Path, card: Scorecard) -> str:
    path.write_text(card.as_text(), encoding="utf-8")
    return str(path)


@pytest.fixture
def sides(tmp_path: Path) -> dict[str, str]:
    """Files of scorecards, by what they are against `old`."""
    made = {
        "old": made_card(0),
        "same": made_card(1),
        "worse": made_card(2, factor=3.0),
        "better": made_card(3, factor=0.4),
        "elsewhere": made_card(4, first=900),
    }
    return {name: saved(tmp_path / f"{name}.json", card) for name, card in made.items()}


@pytest.mark.parametrize(("name", "code"), [("same", 0), ("better", 0), ("worse", 1), ("elsewhere", 3), ("old", 3)])
def test_the_exit_code_tells_the_verdict(
    name: str, code: int, sides: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", sides["old"], sides[name]]) == code
    first = capsys.readouterr().out.split(":")[0]
    assert first == {"elsewhere": "NOT-COMPARABLE", "old": "NOT-COMPARABLE"}.get(name, name.upper())


def test_the_json_is_one_object(sides: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", sides["old"], sides["worse"], "--json", "--question", "models"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["schema"], found["verdict"], found["question"], found["clips"]) == (1, "WORSE", "models", 64)
    assert found["a"]["seeds"] == [0]


def test_a_baseline_is_a_side_with_all_its_seeds(
    sides: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "baseline.json", made_card(10), made_card(11), made_card(12))
    assert main(["compare", str(path), sides["worse"]]) == 1
    out = capsys.readouterr().out
    assert "3 against 1 models" in out
    assert main(["compare", "--old", str(path), "--new", sides["same"], sides["old"]]) == 0
    assert "3 against 2 models" in capsys.readouterr().out


def kept(folder: Path, card: Scorecard, **marker: object) -> Path:
    text = card.as_text()
    (folder / "scorecards").mkdir(parents=True)
    (folder / "scorecards/measures_01_scorecard.json").write_text(text, encoding="utf-8")
    digest = hashlib.sha256(text.encode()).hexdigest()
    files = {"scorecards/measures_01_scorecard.json": {"source": "x", "bytes": len(text), "sha256": digest}}
    record = {"written_by": "tinyworlds-gate keep", "verdict": "PASS", "files": files, **marker}
    (folder / "keep.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


def test_a_kept_run_is_a_side_as_long_as_its_file_is_the_kept_one(
    sides: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = kept(tmp_path / "kept", made_card(7))
    assert main(["compare", sides["old"], str(folder)]) == 0
    card = folder / "scorecards/measures_01_scorecard.json"
    card.write_text(made_card(7, factor=0.1).as_text(), encoding="utf-8")
    assert main(["compare", sides["old"], str(folder)]) == 2
    assert "not the file that was kept" in capsys.readouterr().err


MISTAKES: dict[str, tuple[list[str], str]] = {
    "one side": (["OLD"], "compare needs two sides"),
    "nothing there": (["OLD", "nowhere"], "nowhere: there is no such file or folder"),
    "no scorecard": (["OLD", "OTHER"], "it is neither a scorecard nor a baseline"),
    "both forms": (["OLD", "--old", "OLD", "--new", "OLD"], "name both, and no other side"),
    "one of the two": (["--old", "OLD"], "name both"),
    "a picture of another kind": (["OLD", "OLD", "--picture", "x.jpg"], "the picture is a PNG"),
    "checkpoints without frames": (["OLD", "FOLDER"], "name the frames to score them on"),
    "no such frames": (["OLD", "none.h5::x"], "none.h5::x: there is no file none.h5"),
    "an INVALID kept run": (["OLD", "INVALID"], "its verdict is INVALID"),
    "an older kept run": (["OLD", "OLDER"], "it was kept without scorecards"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    case: str, sides: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, reason = MISTAKES[case]
    (tmp_path / "other.json").write_text('{"schema": "x"}', encoding="utf-8")
    (tmp_path / "folder").mkdir()
    names = {
        "OLD": sides["old"],
        "OTHER": str(tmp_path / "other.json"),
        "FOLDER": str(tmp_path / "folder"),
        "INVALID": str(kept(tmp_path / "invalid", made_card(8), verdict="INVALID")),
        "OLDER": str(kept(tmp_path / "older", made_card(8), files={})),
    }
    assert main(["compare", *(names.get(word, word) for word in words)]) == 2
    told = capsys.readouterr().err
    assert reason in told
    assert told.count("\n") == 1


def frames_file(path: Path, noise: dict[str, float]) -> Path:
    """Frames of another program: a square that moves, and rollouts of different noise."""
    rng = np.random.default_rng(0)
    frames = np.full((24, 5, 32, 32, 3), 60, np.uint8)
    for clip in range(24):
        y, x = rng.integers(4, 20, 2)
        for step in range(5):
            frames[clip, step, y : y + 4, x + step : x + step + 4] = 220
    with h5py.File(path, "w") as file:
        file["context"], file["true"], file["episode"] = frames[:, :2], frames[:, 2:], np.arange(24) // 2
        for name, level in noise.items():
            off = rng.normal(0, level, frames[:, 2:].shape)
            file[f"generated/{name}"] = np.clip(frames[:, 2:] + off, 0, 255).astype(np.uint8)
    return path


def test_frames_of_another_program_are_scored_on_the_way_and_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = frames_file(tmp_path / "frames.h5", {"good": 8.0, "poor": 24.0})
    picture = tmp_path / "compared.png"
    words = [f"{path}::generated/good", f"{path}::generated/poor", "--question", "models", "--picture", str(picture)]
    assert main(["compare", *words]) == 1
    assert "what random actions cost" in capsys.readouterr().out
    pixels = imread(picture)
    assert pixels.shape[0] > 800
    assert main(["compare", f"{path}::generated/good", f"{path}::generated/good"]) == 3


def test_score_writes_the_scorecard_of_frames(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = frames_file(tmp_path / "frames.h5", {"good": 8.0})
    card = tmp_path / "card.json"
    main(["score", "--frames", f"{path}::generated/good", "--scorecard", str(card), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert "scorecard" not in told
    found = read_scorecard(card)
    assert len(found.clips) == told["summary"]["clips"] == 24
    assert found.mse == pytest.approx(told["summary"]["mse"], rel=1e-4)
