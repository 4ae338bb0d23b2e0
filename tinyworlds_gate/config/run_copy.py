"""A run's own copy of its settings files, which its stages read: an edit during the run changes no chunk (P1)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from tinyworlds_gate.config.load import Settings
from tinyworlds_gate.config.profile_files import SETTINGS_FILES, file_digests, shown_path
from tinyworlds_gate.errors import ConfigError

CHECKOUT_CONFIGS = "checkout"
"""Below a run's copies: the files of the checkout that it drives."""


def keep_settings(settings: Settings, kept: Path) -> Path:
    """Copy the six files that ``settings`` were resolved from into the new folder ``kept``, and return it.

    Raises:
        ConfigError: a file was edited since it was read, or the copy cannot be written.
    """
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
        # All or nothing: what a killed harness left half done never has the name of the whole copy.
        partial.rename(kept)
        _fsync(kept.parent)
    except OSError as error:
        raise ConfigError(
            f"The run's copy of its settings files cannot be written to {kept}: {error.strerror}. Make the folder "
            "writable, or free the disk."
        ) from error
    return kept


def keep_checkout_settings(settings: Settings, kept: Path) -> Path:
    """The profile that a run on a checkout was started with, in ``kept``, and the checkout's own files beside it.

    The checkout's stages read its own files; that these stay as they are is seen by the tree's fingerprint.

    Raises:
        ConfigError: a file was edited since it was read, or the copy cannot be written.
    """
    keep_settings(settings, kept / CHECKOUT_CONFIGS)
    try:
        for name in SETTINGS_FILES:
            _write(kept / name, (settings.profile_path.parent / name).read_bytes())
    except OSError as error:
        raise ConfigError(f"The run's copy of its settings cannot be written to {kept}: {error.strerror}.") from error
    return kept


def kept_settings(settings: Settings, kept: Path, recorded: Mapping[str, str] | None) -> Path:
    """The folder that a resumed run's stages read: its copy, which must be the one that the journal ``recorded`` (file
    name → SHA-256); where the run has none, a new one.

    Raises:
        ConfigError: the copy was edited, or a new one cannot be written.
    """
    if not kept.is_dir():
        return keep_settings(settings, kept)
    differing = _differing(recorded or settings.file_digests, kept)
    if differing:
        raise ConfigError(
            f"{shown_path(kept, settings.project_root)} is this run's copy of its settings files, and "
            f"{_list(differing)} there {'is' if len(differing) == 1 else 'are'} not what the run was started with. "
            "Put the old content back, or start a new run."
        )
    return kept


def edited_settings(settings: Settings) -> tuple[str, ...]:
    """The settings files, as people are told them, that were edited or removed since ``settings`` were resolved."""
    return tuple(
        shown_path(settings.config_dir / name, settings.project_root)
        for name in _differing(settings.file_digests, settings.config_dir)
    )


def edited_sentence(edited: tuple[str, ...], kept: Path, project_root: Path) -> str:
    """What a person is told when ``edited_settings`` has found some."""
    were = "was" if len(edited) == 1 else "were"
    return (
        f"{_list(edited)} {were} changed during the run; this run goes on with the values that it was started with "
        f"({shown_path(kept, project_root)}), and a new run will use the new ones."
    )


def _differing(digests: Mapping[str, str], folder: Path) -> list[str]:
    """Names of the settings files whose content in ``folder`` has not these digests."""
    there = file_digests(folder)
    return [name for name in SETTINGS_FILES if there.get(name) != digests.get(name)]


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
