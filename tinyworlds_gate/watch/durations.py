"""Parse durations such as `4h`, `90m`, `30s` or `1h30m`."""

from __future__ import annotations

import re

from tinyworlds_gate.errors import ConfigError

LONGEST_S = 30 * 86400.0
_UNITS_S = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_WRITTEN = re.compile(r"(?:\d+(?:\.\d+)?[dhms])+")
_PART = re.compile(r"(\d+(?:\.\d+)?)([dhms])")


def parse_duration(text: str) -> float:
    """Return the seconds of a duration such as `4h`, `90m`, `30s`, `1.5h` or `1h30m`.

    Raises:
        ConfigError: any other form, zero, or more than 30 days.
    """
    written = text.strip().lower()
    parts = _PART.findall(written) if _WRITTEN.fullmatch(written) else []
    if not parts:
        raise ConfigError(f"{text!r} is not a duration: write a number and its unit, such as 4h, 90m, 30s or 1h30m.")
    seconds = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    if not 0 < seconds <= LONGEST_S:
        raise ConfigError(f"The duration {text!r} is not allowed: give more than 0 seconds and at most 30d.")
    return seconds
