"""A run's own copy of its settings files, which its stages read: an edit during the run changes no chunk (P1)."""

from __future__ import annotations

import os
from pathlib import Path

from tinyworlds_gate.config.load import Settings
from tinyworlds_gate.config.profile_files import SETTINGS_FILES, file_digests, shown_path
from tinyworlds_gate.errors import ConfigError


def keep_settings(settings: Settings, kept: Path) -> Path:
    """Copy the six files that ``settings`` were resolved from into the folder ``kept``, and return it.

    A copy that is there already (a resumed run) stays as it is and must be the one of these settings.

    Raises:
        ConfigError: a file was edited since it was read, or the copy cannot be written.
    """
    if not kept.is_dir():
        _copy(settings, kept)
    differing = _differing(settings, kept)
    if differing:
        raise ConfigError(
            f"{shown_path(kept, settings.project_root)} is this run's copy of its settings files, and "
            f"{_list(differing)} there {_are_not(differing)} what the run was started with. Start a new run."
        )
    return kept


def edited_settings(settings: Settings) -> tuple[str, ...]:
    """The settings files, as people are told them, that were edited or removed since ``settings`` were resolved."""
    return tuple(
        shown_path(settings.config_dir / name, settings.project_root)
        for name in _differing(settings, settings.config_dir)
    )


def edited_sentence(edited: tuple[str, ...], kept: Path, project_root: Path) -> str:
    """What a person is told when ``edited_settings`` has found some."""
    were = "was" if len(edited) == 1 else "were"
    return (
        f"{_list(edited)} {were} changed during the run; this run goes on with the values that it was started with "
        f"({shown_path(kept, project_root)}), and a new run will use the new ones."
    )


def _copy(settings: Settings, kept: Path) -> None:
    """All or nothing: a folder that a killed harness left half done never has the name of the whole one."""
    edited = edited_settings(settings)
    if edited:
        were = "was" if len(edited) == 1 else "were"
        raise ConfigError(
            f"{_list(edited)} {were} changed after the settings had been read and before the run began. Start again."
        )
    partial = kept.with_name(f".{kept.name}.{os.getpid()}.part")
    try:
        partial.mkdir(parents=True, exist_ok=True)
        for name in settings.file_digests:
            _write(partial / name, (settings.config_dir / name).read_bytes())
        partial.rename(kept)
        _fsync(kept.parent)
    except OSError as error:
        raise ConfigError(
            f"The run's copy of its settings files cannot be written to {kept}: {error.strerror}. Make the folder "
            "writable, or free the disk."
        ) from error


def _differing(settings: Settings, folder: Path) -> list[str]:
    """Names of the settings files whose content in ``folder`` is not what ``settings`` were resolved from."""
    there = file_digests(folder)
    return [name for name in SETTINGS_FILES if there.get(name) != settings.file_digests.get(name)]


def _write(path: Path, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _fsync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _list(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(names)


def _are_not(names: list[str]) -> str:
    return "is not" if len(names) == 1 else "are not"
