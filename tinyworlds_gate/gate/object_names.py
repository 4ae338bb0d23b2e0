"""How reports name shares, kinds of objects and rare events (pure functions)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Record = Mapping[str, Any]


def rare_name(row: Record) -> str:
    """`objects that turn up or down`, `objects of about 4 x 4 px, colour about #9a5a29, that appear`."""
    if "top_px" in row:
        size = f"{row['width_px']} x {row['height_px']} px"
        return f"changes of the display of {size} at column {row['left_px']}, row {row['top_px']}"
    return f"{kind_name(row)}, that {row['what']}" if "colour" in row else f"objects that {row['what']}"


def kind_name(kind: Record) -> str:
    """`objects of about 4 x 4 px, colour about #9a5a29` (width x height), or less if less is known."""
    size = f" of about {kind['width_px']} x {kind['height_px']} px" if "width_px" in kind else ""
    if "colour" not in kind:
        return f"objects{size}"
    return f"objects{size}, colour about {kind['colour']}" if size else f"objects of colour about {kind['colour']}"


def percent(share: float | None) -> str:
    """`98.5 %`; `unknown` for None."""
    return "unknown" if share is None else f"{100 * share:.3g} %"
