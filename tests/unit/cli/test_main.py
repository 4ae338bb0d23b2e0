"""The command line: composition, exit codes, and settings with their sources.

python -m pytest tests/unit/cli/test_main.py
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import commands
from tests.helpers.commands import REPOSITORY, python
from tinyworlds_gate.cli.main import COMMANDS, main


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    output = capsys.readouterr().out
    assert output.startswith(f"usage: tinyworlds-gate {name}")
    assert COMMANDS[name][1:20] in " ".join(output.split())


def test_help_names_every_command_without_importing_any() -> None:
    code = (
        "import sys, tinyworlds_gate.cli.main as cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit as end: print('ended', end.code)\n"
        "print([name for name in sys.modules if name.startswith('tinyworlds_gate.')])"
    )
    answer = python("-c", code)
    assert answer.returncode == 0, answer.stderr
    assert all(name in answer.stdout for name in COMMANDS)
    assert "ended 0" in answer.stdout
    assert (
        answer.stdout.splitlines()[-1]
        == "['tinyworlds_gate.cli', 'tinyworlds_gate.errors', 'tinyworlds_gate.cli.main']"
    )


def test_the_package_itself_can_be_run() -> None:
    answer = python("-m", "tinyworlds_gate", "--version")
    assert answer.returncode == 0
    assert answer.stdout.startswith("tinyworlds-gate 0.")


def test_a_gate_error_is_printed_as_one_sentence_with_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(tmp_path)]) == 2
    output = capsys.readouterr()
    assert output.err.startswith("tinyworlds-gate: ")
    assert "is not a run's folder" in output.err
    assert not output.out


def test_an_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["trian"])
    assert ended.value.code == 2
    assert "invalid choice: 'trian'" in capsys.readouterr().err


def test_an_interrupted_command_ends_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(COMMANDS, "wait", "a command that a person interrupts")
    monkeypatch.setitem(sys.modules, "tinyworlds_gate.cli.wait", commands)
    assert main(["wait"]) == 130
    assert capsys.readouterr().err == "tinyworlds-gate: interrupted\n"


def test_a_closed_pipe_is_not_an_error() -> None:
    command = [sys.executable, "-m", "tinyworlds_gate", "show-config"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        output = process.stderr.read().decode()
    assert (process.returncode, output) == (0, "")


@pytest.mark.requirement("P1")
def test_show_config_prints_the_source_of_each_value(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(REPOSITORY)
    assert (
        main(["show-config", "--profile", "longrun", "--dynamics-init-learning-rate", "0.0002", "learning_rate"]) == 0
    )
    rows = [line.split(None, 2) for line in capsys.readouterr().out.splitlines()]
    sources = {key: (value, source) for key, value, source in (row for row in rows if row[0].startswith("stages."))}
    assert sources["stages.dynamics.learning_rate"] == ("0.0002", "option --dynamics-init-learning-rate")
    assert sources["stages.latent_actions.learning_rate"] == (
        "0.0001",
        "configs/profiles/longrun/latent_actions.yaml",
    )


def test_show_config_prints_json_for_programs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(REPOSITORY)
    assert main(["show-config", "--max-mse", "0.02", "thresholds.max_mse", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "profile.thresholds.max_mse": {"value": 0.02, "source": "option --max-mse"}
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nonsense"], "no setting's name contains 'nonsense'"),
        (["--profile", "smok"], "Did you mean `smoke`"),
        (["--train-stage", "none"], "needs --video-checkpoint, --latent-checkpoint, --dynamics-checkpoint"),
    ],
)
def test_show_config_refuses_what_a_run_would_refuse(
    words: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(REPOSITORY)
    assert main(["show-config", *words]) == 2
    assert message in capsys.readouterr().err


def test_bench_gate_prints_the_seconds_of_scoring_and_one_line_of_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(REPOSITORY)
    sizes = ["frame_size=16", "embed_dim=8", "num_heads=2", "num_blocks=1"]
    words = ["--clips", "3", "--steps", "2", "--decode-steps", "2", "--rounds", "2", "--device", "cpu"]
    assert main(["bench", "gate", *words, *(word for size in sizes for word in ("--size", size))]) == 0
    output = capsys.readouterr().out.splitlines()
    record = json.loads(output[-1])
    assert output[0].startswith("scoring 3 clips × 2 frames at 16 px, embed 8, 4 tokens a frame: ")
    assert (record["sizes"]["embed_dim"], record["clips"], record["steps"]) == (8, 3, 2)
    assert len(record["seconds"]) == 2
    assert min(record["seconds"]) <= record["median_s"] <= max(record["seconds"])


@pytest.mark.parametrize("word", ["embed_dim", "embed_dim=x", "width=3"])
def test_bench_gate_refuses_a_size_that_no_model_has(
    word: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(REPOSITORY)
    assert main(["bench", "gate", "--size", word]) == 2
    assert f"--size {word}: NAME=N is needed, with a name of frame_size, patch_size" in capsys.readouterr().err
