"""Whether a child died of a full disk: by what it said, and by trying to write where it wrote."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from tinyworlds_gate.run.disk import DISK_FULL_ERRNOS, write_error

DISK_FULL = "disk_full"
"""The cause in ``chunk_finished``; no retune answers it, the run stops and can be resumed."""

_WORDS = "|".join(re.escape(os.strerror(number)) for number in sorted(DISK_FULL_ERRNOS))
_TOLD = re.compile(rf"(?m)^.*(?:Error\b|\berror\b).*(?:{_WORDS}).*$")


def full_disk(log_text: str, folders: Iterable[Path]) -> str | None:
    """The sentence that shows a full disk as the reason of a failure: an error in the log, else a failed try to write.

    A log on the full disk may lack its last words, so the folders that the child writes to are tried too.
    """
    told = _TOLD.search(log_text)
    if told is not None:
        return told[0].strip()
    for folder in folders:
        error = write_error(folder)
        if error is not None and error.errno in DISK_FULL_ERRNOS:
            return f"{folder} takes no more data: {error.strerror}"
    return None
