"""Conditions and metrics that a project adds to the gate (docs/extending.md)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinyworlds_gate.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

CONDITIONS_HOOK = "pytest_tinyworlds_gate_conditions"
METRICS_HOOK = "pytest_tinyworlds_gate_metrics"
NAME = re.compile(r"[a-z][a-z0-9_]*")
BUILT_IN = (
    *("actions", "baseline", "blind", "clips", "codes", "control", "earlier", "episodes", "finite", "floor", "frames"),
    *("held_out", "interval", "log", "mean_frame", "measures", "random", "recomputed", "repeat", "sample", "settings"),
    *("played", "skill", "target", "true_actions", "trusted", "unseen"),
)
"""Names of the gate's own conditions (`G5.<name>`)."""


@dataclass(frozen=True)
class ScoredClips:
    """The measured clips, as the harness reads them from the frames file and from the generated frames; read-only.

    Axes: N clips, C context frames, T generated frames, H height, W width, 3 colours.
    """

    context: np.ndarray
    """uint8 [N, C, H, W, 3]: the true frames before the generated ones."""
    true: np.ndarray
    """uint8 [N, T, H, W, 3]: the true frames that the model had to predict."""
    generated: np.ndarray
    """uint8 [N, T, H, W, 3]: the frames that the model generated."""
    episodes: np.ndarray
    """int [N]: the episode of each clip. Clips of one episode are not independent."""


@dataclass(frozen=True)
class ClipMetric:
    """A number that is measured on the clips: a condition of the gate if it has a limit, otherwise only shown.

    Raises:
        ConfigError: the name, the limit or another field is not allowed.
    """

    name: str
    """Lower-case letters, digits and `_`; the condition's ID is `G5.<name>`."""
    measure: Callable[[ScoredClips], Any]
    """Returns one number for each clip, an array [N], or one number for all clips. The mean is compared."""
    at_most: float | None = None
    at_least: float | None = None
    sentence: str = ""
    """What a failure means, or how to read the number."""
    unit: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise ConfigError(
                f"ClipMetric {self.name!r}: the name must be lower-case letters, digits and underscores, and start "
                "with a letter, like last_frame"
            )
        if self.name in BUILT_IN:
            raise ConfigError(
                f"ClipMetric {self.name}: the gate has its own condition G5.{self.name}; choose a new name"
            )
        if not callable(self.measure):
            raise ConfigError(
                f"ClipMetric {self.name}: measure is {self.measure!r}; pass a function that takes the clips"
            )
        if self.at_most is not None and self.at_least is not None:
            raise ConfigError(f"ClipMetric {self.name}: it has both at_most and at_least; keep one of them")
        limit = self.limit
        if limit is not None and (not isinstance(limit, int | float) or not math.isfinite(limit)):
            raise ConfigError(f"ClipMetric {self.name}: the limit is {limit!r}; it must be a finite number")
        for field in ("sentence", "unit"):
            if not isinstance(getattr(self, field), str):
                raise ConfigError(f"ClipMetric {self.name}: {field} is {getattr(self, field)!r}; it must be a string")

    @property
    def limit(self) -> float | None:
        """The limit; None for a metric that is only shown."""
        return self.at_most if self.at_most is not None else self.at_least

    @property
    def limit_text(self) -> str:
        """`at most 0.02 dB`; empty without a limit."""
        return limit_text(self.at_most, self.at_least, self.unit)

    def holds(self, value: float) -> bool:
        """Whether a value is within the limit."""
        return (self.at_most is None or value <= self.at_most) and (self.at_least is None or value >= self.at_least)


def limit_text(at_most: float | None, at_least: float | None, unit: str) -> str:
    """`at most 0.02 dB`; empty without a limit."""
    if at_most is None and at_least is None:
        return ""
    text = f"at most {at_most:g}" if at_most is not None else f"at least {at_least:g}"
    return f"{text} {unit}".rstrip()


@dataclass(frozen=True)
class Hook:
    """A hook function of a project: the hook's name, the file that defines it, and the function."""

    name: str
    where: str
    function: Callable[[], Any]


def call_hooks(hooks: Iterable[Hook]) -> tuple[ClipMetric, ...]:
    """Call the hooks and return their conditions and metrics, in order.

    Raises:
        ConfigError: a hook raised, returned something else than a list of ClipMetric, or two have the same name.
    """
    found: dict[str, ClipMetric] = {}
    for hook in hooks:
        for one in _call(hook):
            if one.name in found:
                raise ConfigError(f"{hook.where}: two conditions or metrics are named {one.name}; rename one of them")
            found[one.name] = one
    return tuple(found.values())


def _call(hook: Hook) -> list[ClipMetric]:
    what = f"{hook.where}: {hook.name}"
    try:
        metrics = hook.function()
    except ConfigError as error:
        raise ConfigError(f"{what}: {error}") from error
    except Exception as error:
        raise ConfigError(f"{what} raised {type(error).__name__}: {error}") from error
    if not isinstance(metrics, list | tuple) or not all(isinstance(one, ClipMetric) for one in metrics):
        raise ConfigError(f"{what} returned {metrics!r:.80}; it must return a list of ClipMetric")
    for one in metrics:
        if hook.name == CONDITIONS_HOOK and one.limit is None:
            raise ConfigError(f"{what}: {one.name} has no limit; add at_most or at_least, or move it to {METRICS_HOOK}")
        if hook.name == METRICS_HOOK and one.limit is not None:
            raise ConfigError(
                f"{what}: {one.name} is only shown, but has the limit `{one.limit_text}`; move it to {CONDITIONS_HOOK}"
            )
    return list(metrics)


def load_conftest(path: Path) -> tuple[ClipMetric, ...]:
    """Run a Python file and return what its two hooks define; the file is the user's own, never one of a checkout.

    Raises:
        ConfigError: the file is missing, cannot be run, has neither hook, or a hook's result is wrong.
    """
    if not path.is_file():
        raise ConfigError(f"--conftest {path}: no such file; name the Python file that defines the hooks")
    spec = spec_from_file_location("tinyworlds_gate_user_conftest", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"--conftest {path}: not a Python file; its name must end with .py")
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigError(f"--conftest {path}: running it raised {type(error).__name__}: {error}") from error
    names = [name for name in (CONDITIONS_HOOK, METRICS_HOOK) if callable(getattr(module, name, None))]
    if not names:
        raise ConfigError(f"--conftest {path}: it defines neither {CONDITIONS_HOOK} nor {METRICS_HOOK}")
    return call_hooks(Hook(name, str(path), getattr(module, name)) for name in names)
