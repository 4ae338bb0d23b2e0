"""Keep pytest from reading the values of our options as places to collect from.

Until a `conftest.py` has loaded the plugin, pytest does not know its options: in `--target-repo PATH` it takes PATH for
a test path, and would import the `conftest.py` there, choose its rootdir by it and read its settings file. pytest
reads a settings file, and imports the plugins that its `addopts` names, before any code of ours runs: such a session is
refused, but a value in one word (`--target-repo=PATH`) is the only way that keeps that file from being read.
"""

from __future__ import annotations

import argparse
import copy
import os
import shlex
from collections.abc import Iterable, Sequence
from functools import cached_property
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
        self._refuse_settings()
        # With the test paths that the (own) settings file adds.
        known = self._config.known_args_namespace
        self._config._rootpath = self._setup(known, known.file_or_dir)[0]

    def _refuse_settings(self) -> None:
        if self._misread:
            raise pytest.UsageError(
                f"pytest read the settings file {self._config.inipath}, because it took the value of an option of "
                f"tinyworlds_gate for a test path ({', '.join(self._words)}). Write the option and its value as one "
                "word, --option=VALUE, or name your own settings file with -c FILE."
            )

    @cached_property
    def _typed(self) -> argparse.Namespace:
        """The arguments of the command line and PYTEST_ADDOPTS, without those of a settings file."""
        more = shlex.split(os.environ.get("PYTEST_ADDOPTS", ""))
        words = [*more, *map(str, self._config.invocation_params.args)]
        typed = self._config._parser.parse_known_args(words, namespace=copy.copy(self._config.option))
        for value in self._words:
            if value in typed.file_or_dir and not hasattr(typed, "tinyworlds_target_repo"):
                typed.file_or_dir.remove(value)
        return typed

    @cached_property
    def _misread(self) -> bool:
        """Whether only the value of one of our options leads to the settings file that pytest has read."""
        return bool(self._words) and self._config.inipath not in (None, self._setup(self._typed)[1])

    def _setup(self, namespace: argparse.Namespace, paths: Sequence[str] | None = None) -> tuple[Path, Path | None]:
        root, settings, *_ = determine_setup(
            inifile=namespace.inifilename,
            override_ini=None,
            args=namespace.file_or_dir if paths is None else paths,
            rootdir_cmd_arg=namespace.rootdir or None,
            invocation_dir=self._here,
        )
        return root, settings

    def refuse_loaded(self) -> None:
        """Raise ``pytest.UsageError`` if a `conftest.py` of such a folder is loaded (the autoload plugin was off)."""
        self._refuse_settings()
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
        named = self._config.args or self._config.known_args_namespace.file_or_dir
        for word in self._typed.file_or_dir if self._misread else named:
            yield (self._here / word.partition("::")[0]).resolve()


def _expanded(args: Sequence[str]) -> list[str]:
    """The arguments with those of `@FILE` in its place; argparse reads such files itself."""
    # No argument starts with the prefix, so argparse takes each for a plain word.
    reader = argparse.ArgumentParser(prefix_chars="\0", fromfile_prefix_chars="@", add_help=False)
    reader.add_argument("words", nargs=argparse.REMAINDER)
    words: list[str] = reader.parse_args(list(args)).words
    return words
