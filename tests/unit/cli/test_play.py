"""`tinyworlds-gate play`: which model and frames it takes, what it measures, and a sentence for what cannot be played.

python -m pytest tests/unit/cli/test_play.py
"""

from __future__ import annotations

import argparse
import json
import pickle
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.helpers.data_files import write_h5
from tests.helpers.tiny_project import environment
from tests.helpers.tiny_stages import INFERENCE, TinyStages, moving_squares, trained_stages
from tinyworlds_gate.checkpoints.integrity import sha256_of
from tinyworlds_gate.cli.main import main
from tinyworlds_gate.cli.play import add_arguments, requested
from tinyworlds_gate.errors import CheckpointError
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.play.world import Wanted, open_world
from tinyworlds_gate.reference.data.split import split_episodes
from tinyworlds_gate.run.journal import Journal

DATA = "data/tiny_frames.h5"
OPTIONS = ("--video-checkpoint", "--latent-checkpoint", "--dynamics-checkpoint")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TinyStages:
    return trained_stages(tmp_path_factory)


@pytest.fixture
def project(trained: TinyStages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the run ``whole``, and the same checkpoints without a journal in ``bare``."""
    for place in ("results/whole", "bare"):
        shutil.copytree(trained.run_root("whole"), tmp_path / place)
    shutil.copytree(trained.root / "data", tmp_path / "data")
    with Journal(tmp_path / "results" / "whole" / "journal.jsonl") as journal:
        settings = {**INFERENCE, "token_choice": "nearest_mean", "tf32": True}
        values = {f"inference.{key}": {"value": value} for key, value in settings.items()}
        journal.append("settings_resolved", settings=values)
        journal.append("dataset_ready", path=DATA, sha256=sha256_of(tmp_path / DATA))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def wanted(*words: str) -> Wanted:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return requested(parser.parse_args(words))


def checkpoint(stage: str, step: int, place: str = "results/whole") -> Path:
    return Path(place) / stage / "checkpoints" / f"{stage}_step_{step}"


def words_of_three(place: str = "bare") -> list[str]:
    pairs = zip(OPTIONS, STAGES, strict=True)
    return [word for option, stage in pairs for word in (option, str(checkpoint(stage, 11, place)))]


@pytest.mark.parametrize("name", ["whole", "results/whole"])
def test_a_run_is_played_with_its_newest_checkpoints_its_frames_and_the_rollout_of_its_gate(
    project: Path, name: str
) -> None:
    found = wanted(name)
    assert {stage: path.name for stage, path in found.checkpoints.items()} == {one: f"{one}_step_11" for one in STAGES}
    assert (found.frames, found.frames_sha256) == (project / DATA, sha256_of(project / DATA))
    assert found.rollout is not None
    assert (found.rollout["decode_steps"], found.rollout["token_choice"], found.tf32) == (4, "nearest_mean", True)
    world = open_world(found)
    held_out = split_episodes(moving_squares()[1], 0.25, 0).held_out
    assert set(world.data.episode[world.starts]) == set(held_out)
    assert world.held_out
    assert world.context_frames(0).shape == (2, 16, 16, 3)
    assert world.meanings_from == "the motion of the picture"
    assert sum(one.seen for one in world.meanings) == len(split_episodes(moving_squares()[1], 0.25, 0).train) * 14 * 2


def test_a_run_that_trained_no_dynamics_is_played_with_the_one_that_it_measured(project: Path) -> None:
    shutil.rmtree("results/whole/dynamics")
    with Journal(project / "results" / "whole" / "journal.jsonl") as journal:
        used = {"dynamics": str(checkpoint("dynamics", 5, "bare"))}
        journal.append("inference_started", checkpoints=used)
    assert wanted("whole").checkpoints["dynamics"] == project / checkpoint("dynamics", 5, "bare")


def test_the_split_of_a_run_is_that_of_its_journal(project: Path) -> None:
    episodes = np.unique(open_world(wanted("whole"), learn_meanings=False).data.episode)
    with Journal(project / "results" / "whole" / "journal.jsonl") as journal:
        values = {"profile.data.held_out_fraction": 0.5, "profile.data.split_seed": 5}
        journal.append("settings_resolved", settings={key: {"value": value} for key, value in values.items()})
    world = open_world(wanted("whole"), learn_meanings=False)
    split = split_episodes(episodes, 0.5, 5)
    assert (world.train, world.held_out_episodes) == (split.train, split.held_out)


def test_weights_that_the_run_did_not_write_are_refused(project: Path) -> None:
    path = checkpoint("dynamics", 11)
    with Journal(project / "results" / "whole" / "journal.jsonl") as journal:
        written = sha256_of(path / "model_state_dict.pt")
        journal.append("chunk_finished", checkpoint={"path": str(path), "step": 11, "sha256": written})
    assert wanted("whole").checkpoints["dynamics"] == (project / path)
    with Journal(project / "results" / "whole" / "journal.jsonl") as journal:
        journal.append("chunk_finished", checkpoint={"path": str(path), "step": 11, "sha256": "0" * 64})
    with pytest.raises(CheckpointError, match="the weights of dynamics_step_11 are not those that the run wrote"):
        wanted("whole")


def test_an_option_wins_over_the_run(project: Path) -> None:
    words = ("--decode-steps", "2", "--rollout", "pixels", "--context", "1", "--frames", DATA)
    found = wanted("whole", *words, "--dynamics-checkpoint", str(checkpoint("dynamics", 5)))
    assert found.checkpoints["dynamics"].name == "dynamics_step_5"
    assert found.rollout is not None
    assert (found.rollout["decode_steps"], found.rollout["space"], found.context) == (2, "pixels", 1)
    assert (found.frames, found.frames_sha256) == (Path(DATA), None)
    assert open_world(found, learn_meanings=False).held_out, "the checkpoints record that they trained on this file"


@pytest.mark.parametrize("how", ["run folder", "three paths", "one folder of checkpoints"])
def test_checkpoints_without_a_journal_are_played_as_score_takes_them(project: Path, how: str) -> None:
    flat = Path("flat")
    for stage in STAGES:
        shutil.copytree(checkpoint(stage, 11, "bare"), flat / f"{stage}_step_11")
    words = {"run folder": ["bare"], "three paths": words_of_three(), "one folder of checkpoints": ["flat"]}[how]
    found = wanted(*words, "--frames", DATA)
    assert {path.name for path in found.checkpoints.values()} == {f"{stage}_step_11" for stage in STAGES}
    assert found.rollout is not None
    assert (found.rollout["decode_steps"], found.rollout["space"]) == (16, "tokens")
    assert len(open_world(found, learn_meanings=False).starts) > 0


def test_frames_that_no_checkpoint_has_seen_are_played_from_all_their_episodes(project: Path) -> None:
    frames, episode = moving_squares(seed=9)
    write_h5(Path("other.h5"), frames=frames, episode=episode)
    world = open_world(wanted("whole", "--frames", "other.h5"), learn_meanings=False)
    assert not world.held_out
    assert set(world.data.episode[world.starts]) == set(episode)


def test_measure_prints_frames_a_second_and_latency_as_json_without_a_server(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # nor the extra
    assert main(["play", "whole", "--measure", "20", "--device", "cpu"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["frames"], found["frame_size"], found["decode_steps"], found["device"]) == (20, 16, 4, "cpu")
    assert 0 < found["latency_ms"]["p50"] <= found["latency_ms"]["p99"] <= found["latency_ms"]["max"]
    assert found["frames_per_s"] == pytest.approx(1000 / found["latency_ms"]["p50"], rel=0.9)


def no_dynamics() -> list[str]:
    shutil.rmtree("results/whole/dynamics")
    return ["whole"]


def changed_frames() -> list[str]:
    frames, episode = moving_squares(seed=9)
    Path(DATA).unlink()
    write_h5(Path(DATA), frames=frames, episode=episode)
    return ["whole"]


def no_frames_in_the_journal() -> list[str]:
    journal = Path("results/whole/journal.jsonl")
    first = journal.read_text(encoding="utf-8").splitlines(keepends=True)[0]
    journal.with_name("journal.head").unlink(missing_ok=True)
    journal.write_text(first, encoding="utf-8")
    return ["whole"]


def broken_weights() -> list[str]:
    for step in (5, 11):
        weights = checkpoint("dynamics", step) / "model_state_dict.pt"
        weights.write_bytes(weights.read_bytes()[:-100])
    return ["whole"]


class Evil:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return Path.touch, (Path("executed"),)  # type: ignore[return-value]


def hostile_weights() -> list[str]:
    weights = checkpoint("dynamics", 11, "bare") / "model_state_dict.pt"
    with zipfile.ZipFile(weights, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Evil()))
        archive.writestr("archive/version", "3")
    return [*words_of_three(), "--frames", DATA]


def other_size() -> list[str]:
    write_h5(Path("wide.h5"), frames=np.zeros((40, 16, 24, 3), np.uint8), episode=np.repeat([0, 1], 20))
    return ["whole", "--frames", "wide.h5"]


def short_episodes() -> list[str]:
    write_h5(Path("short.h5"), frames=np.zeros((40, 16, 16, 3), np.uint8), episode=np.arange(40))
    return ["whole", "--frames", "short.h5"]


def no_file() -> list[str]:
    Path("text.h5").write_text("no frames")
    return ["whole", "--frames", "text.h5"]


def empty_folder() -> list[str]:
    Path("empty").mkdir()
    return ["empty", "--frames", DATA]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "play needs a model: name a run"),
        (["--dynamics-checkpoint", "x"], "--video-checkpoint, --latent-checkpoint missing"),
        (["nowhere"], "play nowhere: there is no such run: neither nowhere nor results/nowhere is a folder"),
        (["bare"], "--frames is missing: checkpoints alone name no frames"),
        (["whole", "--frames", "absent.h5"], "absent.h5"),
        (["whole", "--context", "3"], "--context 3 and --memory-window 3: the models were trained on 3 frames"),
        (["whole", "--memory-window", "1"], "1 <= context <= memory window <= 2 is needed"),
        (["whole", "--dynamics-checkpoint", "absent"], "absent"),
        (no_dynamics, "run whole has no checkpoint of dynamics in"),
        (changed_frames, "is not the file that the run used"),
        (no_frames_in_the_journal, "its journal names no frames file; add --frames F.h5"),
        (broken_weights, "holds no valid checkpoint of dynamics"),
        (hostile_weights, "dynamics_step_11"),
        (other_size, "square frames are needed"),
        (short_episodes, "no clip of 2 frames fits"),
        (no_file, "text.h5"),
        (empty_folder, "empty"),
    ],
)
def test_what_cannot_be_played_is_one_sentence(
    project: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str] | Callable[[], list[str]],
    sentence: str,
) -> None:
    assert main(["play", *(words() if callable(words) else words), "--port", "0"]) == 2
    shown = capsys.readouterr()
    last = shown.err.strip().splitlines()
    assert any(line.startswith("tinyworlds-gate: ") for line in last)
    assert sentence in shown.err
    assert "Traceback" not in shown.err
    assert not shown.out
    assert not Path("executed").exists()


def test_without_the_extra_one_sentence_has_the_line_that_installs_it(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["play", "whole"]) == 2
    assert capsys.readouterr().err == (
        "tinyworlds-gate: play needs the package aiohttp, which is not installed; "
        "fix: pip install 'tinyworlds_gate[play]'\n"
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--port", "70000"], "'70000' is no port"),
        (["--port", "-1"], "no port"),
        (["--port", "x"], "'x' is no port"),
        (["--host", ""], "an address is needed"),
        (["--measure", "0"], "--measure"),
        (["--decode-steps", "0"], "--decode-steps"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_loaded(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["play", "whole", *words])
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_prints_a_free_port_serves_the_page_and_ends_cleanly_with_ctrl_c(project: Path) -> None:
    command = [sys.executable, "-m", "tinyworlds_gate", "play", "whole", "--port", "0", "--device", "cpu"]
    with subprocess.Popen(
        command, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        address = re.search(r"Play: (http://127\.0\.0\.1:\d+/) \(Ctrl-C ends it\)", line)
        assert address is not None, line
        with urllib.request.urlopen(address[1], timeout=30) as answer:
            assert b"<canvas" in answer.read()
        below = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out == ""
    assert err.strip().splitlines()[-1] == "Play ended."
    assert "Traceback" not in err
    assert not any(psutil.pid_exists(one.pid) for one in below)
