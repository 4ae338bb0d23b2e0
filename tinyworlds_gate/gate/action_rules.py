"""Conditions on the actions: codes in use, codes against the true actions, and frames of freely chosen codes (pure).

docs/gate.md, section "Actions", has the measured margins.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from tinyworlds_gate.gate.object_names import percent
from tinyworlds_gate.names import FAIL, NOT_RUN, PASS

LEAST_INFORMATION = 0.05
"""Of the entropy of the true actions: what the codes must say about them above chance, by the interval's lower end."""
LEAST_CODES = 2
"""Codes that a model needs however well it predicts."""
ENOUGH_SKILL = 0.8
"""The lower end of the skill from which the codes in use are enough: what they leave out hardly matters."""
FURTHER = 1.35
"""How much larger than the error of another clip's true frames the error of freely chosen codes may be."""
STRANGER, STRANGE_SHARE = 2.5, 0.025
"""The distance to true patches may be this many times that of true and of predicted frames, plus this share of the
variance of patches."""
SHARPNESS, LEAST_MOTION, MOST_MOTION, CUT_SHARE = 2.0, 1 / 3, 2.0, 0.75
"""Factors between freely chosen codes and true or predicted frames, and the share of the change from one clip to
another that the motion may reach."""

Record = Mapping[str, Any]


def judge_true_actions(record: Record | None) -> tuple[str, str]:
    """Return the verdict on codes that should follow the true actions of the frames file, and its reason."""
    if record is None or record["no_occasion"]:
        return NOT_RUN, f"no occasion: {'not measured' if record is None else record['no_occasion']}"
    low = record["excess_low"]
    what = (
        f"the action codes say {percent(record['information'])} of the true actions (by chance "
        f"{percent(record['chance'])}; {percent(record['excess'])} above it, 95 % interval from {percent(low)}, at "
        f"least {percent(LEAST_INFORMATION)} are required; {bits_text(record)})"
    )
    if meets_true_actions(record):
        return PASS, what
    return FAIL, (
        f"{what}: the codes are not the player's actions, or the file's `actions` do not lead from each frame to the "
        "next"
    )


def meets_true_actions(record: Record) -> bool:
    """Whether the codes follow the true actions more than by chance."""
    low = record["excess_low"]
    above = low is not None and math.isfinite(low) and low >= LEAST_INFORMATION
    return above and record["information"] > record["chance_high"]


def bits_text(record: Record) -> str:
    """`codes carry 2.7 of 3.0 bits a frame`."""
    return f"codes carry {record['bits']:.1f} of {record['most_bits']:.1f} bits a frame"


def judge_codes(
    used: int, least: int, there_are: int, record: Record | None, skill_low: float | None
) -> tuple[str, str]:
    """Return the verdict on the number of codes in use, and its reason.

    Args:
        used: codes in use, of the ``there_are`` codes of the model.
        least: what the profile requires; lowered to what model and frames file have.
        record: of the true actions.
        skill_low: the lower end of the skill against the strongest prediction without a model; None: not known.
    """
    known = (record or {}).get("true_actions") or least
    possible = max(min(least, there_are, known), min(LEAST_CODES, there_are))
    bits = f" ({bits_text(record)})" if record is not None else ""
    what = f"{used} action {'code is' if used == 1 else 'codes are'} in use, at least {possible} are required"
    if possible == there_are < least:
        what = f"{used} of the {there_are} action codes are in use, and all of them are required"
    elif possible < least:
        what += f", because the frames file has {known} true actions"
    if used >= possible:
        return PASS, what + bits
    if used >= LEAST_CODES and skill_low is not None and skill_low >= ENOUGH_SKILL:
        return PASS, (
            f"{used} action codes are in use, and they are enough: the lower end of the skill against the "
            f"strongest prediction without a model is {skill_low:.2f} (from {ENOUGH_SKILL:g} on, fewer than {possible} "
            f"will do){bits}"
        )
    return FAIL, f"{what}{bits}: so few cannot tell the moves of a player apart"


def judge_played(record: Record | None) -> tuple[str, str]:
    """Return the verdict on the frames that freely chosen codes generate, and its reason."""
    if record is None or record["no_occasion"]:
        return NOT_RUN, f"no occasion: {'not measured' if record is None else record['no_occasion']}"
    faults = list(played_faults(record))
    which = f"with freely chosen codes ({record['codes']} in use, {record['clips']} clips)"
    if faults:
        return FAIL, f"{which} the frames are none of the game: {'; '.join(faults)}: nobody can play it"
    return PASS, (
        f"{which} the frames look like the game: {percent(record['error'])} of the error of another clip, sharpness "
        f"{record['sharpness']:.2f} and motion {record['motion']:.2f} of the true frames"
    )


def played_faults(record: Record) -> Iterator[str]:
    """Yield a clause for each thing that is wrong with the frames of freely chosen codes."""
    if record["error"] > FURTHER:
        yield (
            f"their error is {record['error']:.2f} times that of the true frames of another clip (at most {FURTHER:g})"
        )
    patches, known = record["patches"], max(record["patches_true"], record["patches_predicted"])
    most = STRANGER * known + STRANGE_SHARE
    if patches > most:
        yield (
            f"their patches are {patches:.3f} of the variance away from the nearest true ones (true frames of other "
            f"clips {record['patches_true']:.3f}, with inferred codes {record['patches_predicted']:.3f}; at most "
            f"{most:.3f})"
        )
    sharp, usual = record["sharpness"], (1.0, record["sharpness_predicted"])
    low, high = min(usual) / SHARPNESS, max(usual) * SHARPNESS
    if not low <= sharp <= high:
        yield f"their sharpness is {sharp:.2f} of the true frames ({low:.2f} to {high:.2f})"
    motion, usual = record["motion"], (1.0, record["motion_predicted"])
    low, high = min(usual) * LEAST_MOTION, max(max(usual) * MOST_MOTION, record["motion_other"] * CUT_SHARE)
    if not low <= motion <= high:
        yield f"their motion is {motion:.2f} of the true frames ({low:.2f} to {high:.2f})"
