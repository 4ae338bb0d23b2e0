"""W&B is never more public than the user configured it. Run: pytest tests/unit/reference/training/test_wandb_mode.py"""

from __future__ import annotations

from pathlib import Path

import pytest

from tinyworlds_gate.evidence.metrics.sources import _offline_on_purpose
from tinyworlds_gate.launch.wandb_run import wandb_configured
from tinyworlds_gate.reference.training.wandb_mode import wandb_mode

KEY = {"WANDB_API_KEY": "x" * 40}


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a user with a key, whose home and current folder are empty."""
    for name in ("home", "here", "project"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return {"HOME": str(tmp_path / "home"), **KEY}


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("variables", "mode"),
    [
        ({}, "online"),
        ({"WANDB_MODE": "offline"}, "offline"),
        ({"WANDB_MODE": "dryrun"}, "offline"),
        ({"WANDB_MODE": "Offline"}, "offline"),
        ({"WANDB_MODE": "disabled"}, "disabled"),
        ({"WANDB_DISABLED": "true"}, "disabled"),
        ({"WANDB_DISABLED": "1"}, "disabled"),
        ({"WANDB_DISABLED": "TRUE", "WANDB_MODE": "online"}, "disabled"),
        ({"WANDB_DISABLED": "false"}, "online"),
        ({"WANDB_DISABLED": ""}, "online"),
    ],
)
def test_variables_win_over_a_key(user: dict[str, str], variables: dict[str, str], mode: str) -> None:
    assert wandb_mode(user | variables) == mode
    assert (wandb_configured(user | variables) is None) is (mode == "disabled")


@pytest.mark.parametrize(
    "place",
    ["home/.config/wandb/settings", "here/wandb/settings", "here/.wandb/settings", "project/wandb/settings"],
)
@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("[default]\nmode = offline\n", "offline"),
        ("[default]\nmode: dryrun\nbase_url = http://x\n", "offline"),
        ("[default]\nmode = disabled\n", "disabled"),
        ("[default]\ndisabled = true\n", "disabled"),
        ("[default]\nmode = online\n", "online"),
        ("[other]\nmode = offline\n", "online"),
        ("mode = offline\n", "online"),
        ("", "online"),
    ],
)
def test_settings_files_win_over_a_key(tmp_path: Path, user: dict[str, str], place: str, text: str, mode: str) -> None:
    write(tmp_path / place, text)
    assert wandb_mode(user, tmp_path / "project") == mode
    assert (_offline_on_purpose(user, tmp_path / "project") is None) is (mode == "online")


def test_the_more_private_settings_file_counts(tmp_path: Path, user: dict[str, str]) -> None:
    """A local file that came with a checkout cannot undo `wandb offline`."""
    write(tmp_path / "home" / ".config" / "wandb" / "settings", "[default]\nmode = offline\n")
    write(tmp_path / "project" / "wandb" / "settings", "[default]\nmode = online\n")
    assert wandb_mode(user, tmp_path / "project") == "offline"
    write(tmp_path / "project" / "wandb" / "settings", "[default]\nmode = disabled\n")
    assert wandb_mode(user, tmp_path / "project") == "disabled"


def test_a_mode_of_this_session_counts_before_the_settings_files(tmp_path: Path, user: dict[str, str]) -> None:
    write(tmp_path / "here" / "wandb" / "settings", "[default]\nmode = offline\n")
    assert wandb_mode(user | {"WANDB_MODE": "online"}) == "online"
    assert wandb_mode(user | {"WANDB_MODE": ""}) == "offline"


def test_named_folders_of_settings_are_read(tmp_path: Path, user: dict[str, str]) -> None:
    write(tmp_path / "config" / "settings", "[default]\nmode = offline\n")
    assert wandb_mode(user | {"WANDB_CONFIG_DIR": str(tmp_path / "config")}) == "offline"
    write(tmp_path / "elsewhere" / "wandb" / "settings", "[default]\nmode = offline\n")
    assert wandb_mode(user | {"WANDB_DIR": str(tmp_path / "elsewhere")}) == "offline"


def test_what_the_client_writes_is_understood(tmp_path: Path, user: dict[str, str]) -> None:
    from wandb.sdk.lib.settings_file import SettingsFiles

    files = SettingsFiles(global_settings=None, local_settings=tmp_path / "here" / "wandb" / "settings")
    (tmp_path / "here" / "wandb").mkdir()
    files.set("mode", "offline")  # as `wandb offline`
    files.save()
    assert wandb_mode(user) == "offline"
