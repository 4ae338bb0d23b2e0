"""Report an event that this version cannot read as one sentence, because a journal may come from anybody."""

from __future__ import annotations

import argparse
import traceback
from collections.abc import Callable
from functools import wraps
from pathlib import Path

from jinja2 import TemplateError

from tinyworlds_gate.errors import GateError

_PACKAGE = Path(__file__).resolve().parents[1]
_OF_A_VALUE = (ArithmeticError, AttributeError, LookupError, RecursionError, TemplateError, TypeError, ValueError)
_LONGEST = 200


def reads_journals(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """Decorate the ``run`` of a subcommand that reads runs.

    Raises:
        GateError: an event lacks a field or holds a value of another kind; the sentence names the place in the code,
            so that a fault of the program can be told from one of the journal.
    """

    @wraps(run)
    def run_or_say(args: argparse.Namespace) -> int:
        try:
            return run(args)
        except _OF_A_VALUE as error:
            what = " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST]
            raise GateError(
                f"{getattr(args, 'run', None) or 'A run'}: its journal holds an event that this version cannot read "
                f"({what}; {_place(error)}). Use the version that wrote it; with that version, report this as a bug."
            ) from error

    return run_or_say


def _place(error: BaseException) -> str:
    frames = [one for one in traceback.extract_tb(error.__traceback__) if Path(one.filename).is_relative_to(_PACKAGE)]
    last = frames[-1]
    return f"{Path(last.filename).relative_to(_PACKAGE.parent).as_posix()}:{last.lineno}"
