"""The closed loop's options as pytest options; docs/options.md lists them."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tinyworlds_gate.config.cli_options import OPTIONS, TARGET_PATHS, Option, option_flag
from tinyworlds_gate.config.cli_rules import validate
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.run.owned import require_place_for_outputs

if TYPE_CHECKING:
    from tinyworlds_gate.loop.resume import ResumedRun

GROUP = "tinyworlds_gate"


def add_options(parser: pytest.Parser) -> None:
    """Register every option in the group ``tinyworlds_gate``; bad values are usage errors that name the option."""
    group = parser.getgroup(GROUP, "tinyworlds_gate: the closed loop from training to inference (docs/options.md)")
    for option in OPTIONS:
        keywords: dict[str, Any] = {} if option.bare is None else {"nargs": "?", "const": option.bare}
        group.addoption(
            option.flag,
            *option.aliases,
            dest=_dest(option.name),
            type=option.parse,
            default=None,
            metavar=_metavar(option),
            help=help_text(option),
            **keywords,
        )


def help_text(option: Option) -> str:
    """The help of one option: what it does, its unit and its default."""
    return f"{option.help} Value: {option.unit}. Default: {option.default}.".replace("%", "%%")


def explicit_options(config: pytest.Config) -> dict[str, Any]:
    """What a person gave on the command line: option name → value. Defaults are not in it."""
    values = {option.name: config.getoption(_dest(option.name)) for option in OPTIONS}
    return {name: value for name, value in values.items() if value is not None}


def placed_options(config: pytest.Config) -> dict[str, Any]:
    """The explicit options with the paths of a checkout absolute, so that a resumed run finds them from anywhere."""
    values = explicit_options(config)
    base = config.invocation_params.dir
    # Not resolved: the link `.venv/bin/python` followed to its end is another environment's interpreter.
    return {
        name: os.path.abspath(base / Path(value).expanduser()) if name in TARGET_PATHS else value
        for name, value in values.items()
    }


def is_dry_run(config: pytest.Config) -> bool:
    """Whether ``--target-dry-run`` was given."""
    return bool(config.getoption(_dest("target_dry_run")))


def resumed_run(config: pytest.Config, root: Path) -> tuple[ResumedRun | None, Sequence[str]]:
    """The run that ``--resume-run`` names, or None; and messages about the choice.

    Raises:
        pytest.UsageError: there is no such run, it has ended well, or an option differs from the run's own.
    """
    given: str | None = config.getoption(_dest("resume_run"))
    if given is None:
        return None, ()
    from tinyworlds_gate.loop.resume import find_run
    from tinyworlds_gate.loop.runs import UNFINISHED, choose_unfinished, known_runs

    messages: Sequence[str] = ()
    options = placed_options(config)
    try:
        if given == UNFINISHED:
            runs, problems = known_runs(root)
            choice = choose_unfinished(runs, None if "profile" in options else chosen_profile(config), options)
            messages = [*choice.messages, *problems]
            if choice.run is None:
                return None, messages
            given = choice.run.name
        run = find_run(root, given, config.invocation_params.dir)
        run.require_unfinished()
        run.require_options(options)
    except GateError as error:
        raise pytest.UsageError(str(error)) from error
    return run, messages


def chosen_profile(config: pytest.Config) -> str:
    """``--profile``, or the default: longrun when ``-m`` names longrun, smoke otherwise."""
    given: str | None = config.getoption(_dest("profile"))
    if given is not None:
        return given
    return "longrun" if _names(config.getoption("markexpr") or "", "longrun") else "smoke"


def selects(kind: str, markers: str) -> bool:
    """Whether the markers of `-m` select the validation tests of a profile of this kind, smoke or longrun."""
    other = {"smoke": "longrun", "longrun": "smoke"}[kind]
    return not re.search(rf"\bnot\s+{kind}\b", markers) and (_names(markers, kind) or not _names(markers, other))


def _names(markers: str, kind: str) -> bool:
    return re.search(rf"\b{kind}\b", re.sub(rf"\bnot\s+{kind}\b", "", markers)) is not None


def project_root(config: pytest.Config) -> Path:
    """``--project-root`` from the folder pytest was started in, or pytest's rootdir; with ``--target-repo`` the folder
    that its outputs go to.

    Raises:
        pytest.UsageError: an option names a folder of the system, or the home folder.
    """
    given: str | None = config.getoption(_dest("project_root"))
    placed = placed_options(config)
    if given is not None:
        option, root = "project_root", config.invocation_params.dir / given
    elif "target_repo" in placed:
        option = "output_root" if "output_root" in placed else "target_repo"
        root = Path(str(placed[option]))
    else:
        return config.rootpath
    try:
        # A project in the home folder is one, as in many containers.
        require_place_for_outputs(root, option_flag(option), home=option == "project_root")
    except GateError as error:
        raise pytest.UsageError(str(error)) from error
    return root.resolve()


def require_valid(options: Mapping[str, Any]) -> None:
    """Refuse a bad combination before anything starts.

    Raises:
        pytest.UsageError: with every sentence of ``validate``.
    """
    problems = validate(options)
    if problems:
        raise pytest.UsageError("\n".join(problems))


def options_list() -> str:
    """The list of docs/options.md."""
    return "\n".join(_list_item(option) for option in OPTIONS)


def _list_item(option: Option) -> str:
    names = ", ".join(f"`{flag}`" for flag in (option.flag, *option.aliases))
    text = f"- {names} ({option.unit}; default: {option.default}): {option.help}".replace("<", r"\<")
    return textwrap.fill(text, 120, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False)


def _dest(name: str) -> str:
    # A prefix, so that no other plugin's `seed` or `profile` is read by mistake.
    return f"tinyworlds_{name}"


def _metavar(option: Option) -> str:
    return option.unit if "|" in option.unit else option.unit.split(",")[0].upper().replace(" ", "_")
