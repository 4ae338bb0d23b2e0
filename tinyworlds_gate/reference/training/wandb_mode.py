"""The mode of a W&B run: never more public than the user's environment and W&B's settings files say."""

from __future__ import annotations

import configparser
import netrc
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

WandbMode = Literal["online", "offline", "disabled"]
PUBLIC_SERVER = "https://api.wandb.ai"
"""W&B's server where `WANDB_BASE_URL` names none."""

_FALSE = ("", "0", "false", "no", "off", "none")
_MOST_BYTES = 1024**2


def wandb_mode(environment: Mapping[str, str], *folders: Path) -> WandbMode:
    """Return the mode: what switches W&B off or offline (`restriction`), else online with an API key or on request.

    Args:
        folders: where a local settings file can be, `wandb/settings`, besides the current folder and `WANDB_DIR`.
    """
    if (found := restriction(environment, *folders)) is not None:
        return found[0]
    if environment.get("WANDB_MODE"):
        return "online" if environment["WANDB_MODE"] == "online" else "offline"
    return "online" if key_source(environment) else "offline"


def restriction(environment: Mapping[str, str], *folders: Path) -> tuple[Literal["offline", "disabled"], str] | None:
    """Return what keeps W&B from the server, and where that is set; None where nothing does.

    `WANDB_DISABLED` counts before `WANDB_MODE`, and that before the settings files, of which the more private one
    counts: a local file that came with a checkout cannot undo the user's `wandb offline`.
    """
    if environment.get("WANDB_DISABLED", "").strip().lower() not in _FALSE:
        return "disabled", f"WANDB_DISABLED={environment['WANDB_DISABLED']}"
    if mode := environment.get("WANDB_MODE"):
        private = _private(mode)
        return None if private is None else (private, f"WANDB_MODE={mode}")
    found = [(private, str(path)) for path in _settings_files(environment, folders) if (private := _mode_in(path))]
    return min(found, key=lambda one: one[0] != "disabled", default=None)


def key_source(environment: Mapping[str, str]) -> str | None:
    """Return where W&B's client finds an API key: `WANDB_API_KEY` or the netrc file (`wandb login`); None without."""
    if environment.get("WANDB_API_KEY"):
        return "WANDB_API_KEY"
    home = environment.get("HOME")
    path = environment.get("NETRC") or (f"{home}/.netrc" if home else None)
    host = urlsplit(environment.get("WANDB_BASE_URL") or PUBLIC_SERVER).hostname
    try:
        return ".netrc" if path and host in netrc.netrc(path).hosts else None
    except (OSError, netrc.NetrcParseError):
        return None


def server_url(environment: Mapping[str, str], *folders: Path) -> str:
    """Return the address of W&B's server: `WANDB_BASE_URL`, else that of a settings file, else the public one."""
    if url := environment.get("WANDB_BASE_URL"):
        return url
    files = (_settings_in(path) for path in _settings_files(environment, folders))
    return next((url for settings in files if (url := settings.get("base_url", "").strip())), PUBLIC_SERVER)


def _private(mode: str) -> Literal["offline", "disabled"] | None:
    mode = mode.strip().lower()
    return "disabled" if mode == "disabled" else "offline" if mode in ("offline", "dryrun") else None


def _settings_files(environment: Mapping[str, str], folders: tuple[Path, ...]) -> Iterator[Path]:
    """W&B's settings file of the user, and the local ones (`wandb offline` writes the one of the current folder)."""
    home = environment.get("HOME") or os.path.expanduser("~")
    yield Path(environment.get("WANDB_CONFIG_DIR") or f"{home}/.config/wandb") / "settings"
    named = (environment.get("WANDB_DIR"), os.path.abspath("."))
    for folder in dict.fromkeys([*map(Path, filter(None, named)), *folders]):
        for name in ("wandb", ".wandb"):
            yield folder / name / "settings"


def _settings_in(path: Path) -> Mapping[str, str]:
    """The section `default` of a settings file; empty for a file that cannot be read."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:
            return {}
        parser.read_string(path.read_text(encoding="utf-8", errors="replace"))
    except (OSError, configparser.Error):
        return {}
    return parser["default"] if parser.has_section("default") else {}


def _mode_in(path: Path) -> Literal["offline", "disabled"] | None:
    settings = _settings_in(path)
    if settings.get("disabled", "").strip().lower() not in _FALSE:  # as older clients wrote it
        return "disabled"
    return _private(settings.get("mode", ""))
