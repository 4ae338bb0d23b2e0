"""Find the exceptions in a log: type, place and message; recognise those that no batch size can mend (pure; T1)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

RANK_PREFIX = re.compile(r"^\s*\[?rank(\d+)\]?:\s?")
_TRACEBACK = "Traceback (most recent call last)"
_FRAME = re.compile(r'^\s*File "(?P<file>[^"]+)", line (?P<line>\d+)')
EXCEPTION = re.compile(r"^(?P<type>(?:\w+\.)*\w*(?:Error|Exception|Interrupt|StopIteration))(?::\s*(?P<message>.*))?$")
_STAGE_ERROR = re.compile(r"^\[(?P<stage>\w+)\] error: (?P<message>.+)$")
_OF_LAUNCHERS = ("ChildFailedError", "SignalException")
_PLACE_PARTS = 3
_LONGEST = 300

_NETWORK_FIX = (
    "a server or a machine that the stage contacts does not answer: check its name, the network and the proxy, or "
    "switch that service off (WANDB_MODE=offline)"
)
_FIXES: tuple[tuple[str, str], ...] = (
    (
        r"(ModuleNotFoundError|ImportError)\b",
        "install the package in the interpreter that runs the stage (--target-python names a checkout's), or correct "
        "the import",
    ),
    (
        r"ValueError: num_samples",
        "the data loader found no clip: raise preload_ratio in configs/training.yaml, or use a longer frames file",
    ),
    (r"ValueError: Invalid dataset", "set `dataset` to a name that the project knows, with --dataset"),
    (
        r"(FileNotFoundError|NotADirectoryError|IsADirectoryError)\b|.*No such file or directory",
        "put the file where the message looks for it, or correct the setting that names it",
    ),
    (r"PermissionError\b", "make the path in the message readable and writable"),
    (
        r"(omegaconf\.|yaml\.|.*(ConfigAttributeError|ConfigKeyError|ConfigTypeError|ValidationError)\b)",
        "correct the setting that the message names",
    ),
    (r"error: ", "do as the message says"),
    (
        r"(wandb\.|requests\.|urllib3?\.|http\.client\.|httpx\.|aiohttp\.|huggingface_hub\.|ssl\.|(socket\.)?gaierror\b"
        r"|(.*\.)?(ConnectionRefusedError|CommError)\b|OSError: \[Errno (101|110|111|113)\]"
        r"|(.*\.)?DistNetworkError\b(?!.*(recv|reset|closed|shut))"
        r"|RuntimeError: .*(Name or service not known|Temporary failure in name resolution|No route to host))",
        _NETWORK_FIX,
    ),
    (r"(.*\.)?TclError\b", "the stage opens a window: draw without one (MPLBACKEND=Agg)"),
    (
        r"RuntimeError: Error\(s\) in loading state_dict",
        "the checkpoint has other sizes than the settings: use one of these settings, or set its sizes",
    ),
    (
        r"(SyntaxError|IndentationError|NameError|UnboundLocalError|AttributeError|TypeError|KeyError)\b",
        "correct that line, or the setting that it reads",
    ),
)
"""Pattern over ``type: message`` → what mends the error; the batch size does not."""

_FIXES_BY_PLACE: tuple[tuple[str, str], ...] = (
    (
        r"(^|/)(matplotlib|mpl_toolkits|seaborn|plotly|tkinter|PyQt\d|PySide\d|PIL|imageio)/",
        "a picture could not be drawn or written: mend the backend or the style that the message names, or draw with "
        "MPLBACKEND=Agg",
    ),
    (r"(^|/)(wandb|urllib3?|requests|httpx|httpcore|aiohttp|huggingface_hub|socket\.py|ssl\.py)(/|:)", _NETWORK_FIX),
)
"""Pattern over the place of an exception → what mends it: the code there does not depend on the batch size."""


@dataclass(frozen=True)
class Raised:
    """One exception in a log. ``place`` is the innermost frame (``folder/file.py:line``); None without a traceback."""

    type: str
    place: str | None
    message: str

    @property
    def key(self) -> tuple[str, str]:
        """What makes two failures the same: type and place, or type and message without a traceback."""
        return self.type, self.place or self.message

    @property
    def fix(self) -> str | None:
        """What mends an error that no batch size can mend; None for any other exception."""
        text = f"{self.type}: {self.message}"
        by_text = (fix for pattern, fix in _FIXES if re.match(pattern, text))
        by_place = (fix for pattern, fix in _FIXES_BY_PLACE if self.place and re.search(pattern, self.place))
        return next(by_text, None) or next(by_place, None)

    def sentence(self) -> str:
        """Return ``type: message (at place)``."""
        said = f"{self.type}: {self.message}" if self.message else self.type
        return f"{said} (at {self.place})" if self.place else said


def raised_in(log_text: str) -> tuple[Raised, ...]:
    """Return the exceptions of a log in order, each once; those of the launcher itself are left out.

    If the log has a traceback, only lines that end one count. Without any, a line that begins with an exception does.
    """
    with_traceback = _TRACEBACK in log_text
    frames = dict[str, str | None]()
    found = dict[tuple[str, str], Raised]()
    for rank, line in _lines(log_text):
        if _TRACEBACK in line:
            frames[rank] = None
        elif (frame := _FRAME.match(line)) is not None:
            parts = PurePosixPath(frame["file"]).parts[-_PLACE_PARTS:]
            frames[rank] = f"{'/'.join(parts)}:{frame['line']}"
        elif (error := _STAGE_ERROR.match(line)) is not None:
            _add(found, Raised("error", None, error["message"].strip()[:_LONGEST]))
        elif (end := EXCEPTION.match(line)) is not None and (rank in frames or not with_traceback):
            place = frames.pop(rank, None)
            if not end["type"].endswith(_OF_LAUNCHERS):
                _add(found, Raised(end["type"], place, (end["message"] or "").strip()[:_LONGEST]))
    return tuple(found.values())


def same_exception(first: Iterable[Raised], second: Iterable[Raised]) -> Raised | None:
    """Return the newest exception of ``second`` that ``first`` has at the same place, or None."""
    known = {one.key for one in first}
    return next((one for one in reversed(tuple(second)) if one.key in known), None)


def unmendable(raised: Iterable[Raised]) -> Raised | None:
    """Return the newest exception that no batch size can mend, or None."""
    return next((one for one in reversed(tuple(raised)) if one.fix is not None), None)


def _add(found: dict[tuple[str, str], Raised], one: Raised) -> None:
    found.pop(one.key, None)
    found[one.key] = one


def _lines(log_text: str) -> Iterator[tuple[str, str]]:
    """Yield (rank, line without its rank prefix)."""
    for raw in log_text.splitlines():
        match = RANK_PREFIX.match(raw)
        yield ("", raw.rstrip()) if match is None else (match[1], raw[match.end() :].rstrip())
