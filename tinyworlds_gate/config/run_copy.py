"""The copy of the settings files in a run's folder. Stages read the copy, so edits during a run have no effect (P1)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tinyworlds_gate.config.load import Settings
from tinyworlds_gate.config.profile_files import SETTINGS_FILES, display_path, file_digests
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.run.publish_folder import published_folder

CHECKOUT_CONFIGS = "checkout"
"""Subfolder of a run's copy: the settings files of the validated checkout."""


def copy_settings(settings: Settings, copy: Path) -> Path:
    """Copy the six files that ``settings`` were resolved from into the new folder ``copy``, and return it.

    Raises:
        ConfigError: a file was edited since it was read, or the copy cannot be written.
    """
    return _publish_copy(settings, copy, {})


def copy_checkout_settings(settings: Settings, copy: Path) -> Path:
    """Copy the profile into ``copy`` and the checkout's settings files into ``copy/checkout``; return ``copy``.

    The checkout's stages still read the checkout's files; its fingerprint detects edits of them.

    Raises:
        ConfigError: a file was edited since it was read, or the copy cannot be written.
    """
    return _publish_copy(settings, copy, {name: settings.profile_path.parent / name for name in SETTINGS_FILES})


def _publish_copy(settings: Settings, copy: Path, profile: Mapping[str, Path]) -> Path:
    """Copy the settings files into ``copy``, or below it where ``profile`` has the files of ``copy`` itself."""
    edited = edited_settings(settings)
    if edited:
        were = "was" if len(edited) == 1 else "were"
        raise ConfigError(
            f"{', '.join(edited)} {were} changed between reading the settings and the start of the run. Start again."
        )
    try:
        with published_folder(copy) as partial:
            below = partial / CHECKOUT_CONFIGS if profile else partial
            below.mkdir(exist_ok=True)
            for name in settings.file_digests:
                (below / name).write_bytes(settings.settings_files[name].read_bytes())
            for name, path in profile.items():
                (partial / name).write_bytes(path.read_bytes())
    except OSError as error:
        raise ConfigError(
            f"The run's copy of its settings files cannot be written to {copy}: {error.strerror}. Make the folder "
            "writable, or free disk space."
        ) from error
    return copy


def reuse_settings_copy(settings: Settings, copy: Path, recorded: Mapping[str, str] | None) -> Path:
    """Return the copy for a resumed run after comparing it with the journal; make one if the run has none.

    Args:
        settings: the settings of the resumed run.
        copy: the run's folder for its copy.
        recorded: file name → SHA-256, from the journal; None in journals of older versions.

    Raises:
        ConfigError: the copy was edited, or a new one cannot be written.
    """
    if not copy.is_dir():
        return copy_settings(settings, copy)
    differing = _differing(recorded or settings.file_digests, copy)
    if differing:
        raise ConfigError(
            f"{display_path(copy, settings.project_root)} is this run's copy of its settings files, and "
            f"{', '.join(differing)} there {'is' if len(differing) == 1 else 'are'} not what the run was started with. "
            "Put the old content back, or start a new run."
        )
    return copy


def require_copy(settings: Settings, copy: Path, run: str) -> None:
    """Check, before a chunk, that the copy that its stage reads is whole.

    Raises:
        ConfigError: the copy is gone or was changed.
    """
    differing = _differing(settings.file_digests, copy)
    if differing:
        what = f"{', '.join(differing)} in it changed" if copy.is_dir() else "it is gone"
        raise ConfigError(
            f"{display_path(copy, settings.project_root)} is this run's copy of its settings files, and {what} while "
            f"the run is going on. Put the old content back, or remove the folder, and go on with --resume-run "
            f"results/{run}."
        )


def edited_settings(settings: Settings) -> tuple[str, ...]:
    """Return the settings files that were edited or removed since ``settings`` were resolved, as display paths."""
    return tuple(
        display_path(settings.settings_files[name], settings.project_root)
        for name in _differing(settings.file_digests, settings.settings_files)
    )


def edited_sentence(edited: tuple[str, ...], copy: Path, project_root: Path) -> str:
    """Return the warning about edited settings files."""
    were = "was" if len(edited) == 1 else "were"
    return (
        f"{', '.join(edited)} {were} changed during the run; this run goes on with the values that it was started with "
        f"({display_path(copy, project_root)}), and a new run will use the new ones."
    )


def _differing(digests: Mapping[str, str], place: Path | Mapping[str, Path]) -> list[str]:
    """Return the names of the settings files that do not have these digests."""
    found = file_digests(place)
    return [name for name in SETTINGS_FILES if found.get(name) != digests.get(name)]
