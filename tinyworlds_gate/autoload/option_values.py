"""Keep pytest from reading the values of our options as places to collect from.

Until a `conftest.py` has loaded the plugin, pytest does not know its options: in `--target-repo PATH` it takes PATH for
a test path, and would import the `conftest.py` there, choose its rootdir by it and read its settings file.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from _pytest.config.findpaths import determine_setup

from tinyworlds_gate.config.cli_options import OPTIONS, PLACES

PACKAGE_FOLDER = Path(__file__).resolve().parents[1]


class OptionValues:
    """The values of our options in a session's arguments, and what pytest must not do with them."""

    def __init__(self, config: pytest.Config, args: Sequence[str]) -> None:
        self._config = config
        self._here = config.invocation_params.dir
        self._words: list[str] = []
        """Values in a word of their own (`--target-repo PATH`)."""
        self._places: set[Path] = set()
        self._read(_expanded(args))

    def _read(self, args: Sequence[str]) -> None:
        named = {flag: option for option in OPTIONS for flag in (option.flag, *option.aliases)}
        for word, following in zip(args, [*args[1:], "--"], strict=False):
            flag, is_one_word, value = word.partition("=")
            if word == "--":
                break
            if flag not in named or (not is_one_word and following.startswith("-")):
                continue
            if not is_one_word:
                value = following
                self._words.append(value)
            if named[flag].name in PLACES and value:
                self._places.add((self._here / os.path.expanduser(value)).resolve())

    def leave_out(self) -> None:
        """Remove the values from the test paths, and load no `conftest.py` from the folders that they name."""
        known = self._config.known_args_namespace
        for value in self._words:
            # Parsed with our options (`-p tinyworlds_gate.plugin`), the namespace holds no value of theirs.
            if value in known.file_or_dir and not hasattr(known, "tinyworlds_target_repo"):
                known.file_or_dir.remove(value)
        manager: Any = self._config.pluginmanager
        load = manager._loadconftestmodules

        def load_unless_closed(path: Path, *rest: Any, **named: Any) -> None:
            if not self._closed(Path(path)):
                load(path, *rest, **named)

        if self._places:
            manager._loadconftestmodules = load_unless_closed

    def settle_root(self) -> None:
        """Set the rootdir that pytest would have chosen had it known our options.

        Raises:
            pytest.UsageError: it has read a settings file that only the value of one of our options leads to.
        """
        if not self._words:
            return
        known = self._config.known_args_namespace
        root, settings, *_ = determine_setup(
            inifile=known.inifilename,
            override_ini=None,
            args=known.file_or_dir,
            rootdir_cmd_arg=known.rootdir or None,
            invocation_dir=self._here,
        )
        if self._config.inipath not in (None, settings):
            raise pytest.UsageError(
                f"pytest read the settings file {self._config.inipath}, because it took the value of an option of "
                f"tinyworlds_gate for a test path ({', '.join(self._words)}). Write the option and its value as one "
                "word, --option=VALUE, or name your own settings file with -c FILE."
            )
        self._config._rootpath = root

    def refuse_loaded(self) -> None:
        """Raise ``pytest.UsageError`` if a `conftest.py` of such a folder is loaded (the autoload plugin was off)."""
        manager = self._config.pluginmanager
        for name, plugin in manager.list_name_plugin():
            if plugin is not None and Path(name).name == "conftest.py" and self._closed(Path(name)):
                manager.unregister(plugin)
                raise pytest.UsageError(
                    f"pytest imported {name}, because it took the value of an option of tinyworlds_gate for a test "
                    "path. Write the option and its value as one word, --option=VALUE, or add `-p tinyworlds_gate`."
                )

    @pytest.hookimpl(tryfirst=True)
    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """Collect nothing from the folders that the options name, unless a test path leads there."""
        return True if self._closed(collection_path) else None

    def _closed(self, path: Path) -> bool:
        if not self._places:
            return False
        inside = [place for place in self._places if path.resolve().is_relative_to(place)]
        return bool(inside) and not any(start.is_relative_to(place) for place in inside for start in self._starts())

    def _starts(self) -> Iterable[Path]:
        """Where the user lets pytest start: the current folder, the test paths, the tests of this package."""
        yield from (self._here.resolve(), PACKAGE_FOLDER)
        for word in self._config.args or self._config.known_args_namespace.file_or_dir:
            yield (self._here / word.partition("::")[0]).resolve()


def _expanded(args: Sequence[str]) -> list[str]:
    """The arguments with those of `@FILE` in its place; argparse reads such files itself."""
    # No argument starts with the prefix, so argparse takes each for a plain word.
    reader = argparse.ArgumentParser(prefix_chars="\0", fromfile_prefix_chars="@", add_help=False)
    reader.add_argument("words", nargs=argparse.REMAINDER)
    words: list[str] = reader.parse_args(list(args)).words
    return words
