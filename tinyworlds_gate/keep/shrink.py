"""Shrink one file for the folder and remove the machine's names, or say why it is too large (pure)."""

from __future__ import annotations

import base64
import binascii
import gzip
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import PurePosixPath

from tinyworlds_gate.keep.machine_names import EMBEDDED, MachineNames, without_machine
from tinyworlds_gate.run.formats import size_text
from tinyworlds_gate.run.redact import redact

MAX_FILE_BYTES = 2 * 2**20
"""Limit for one file in the folder, which is committed."""
MAX_READ_BYTES = 32 * MAX_FILE_BYTES
"""A larger file is not read, since no text compresses that far."""
PICTURE_SUFFIXES = (".png",)

_EMBEDDED_PICTURE = re.compile(r'src="data:image/png;base64,([A-Za-z0-9+/=]+)"')


_REDACTED_BEFORE = (".json", ".jsonl", ".csv")
"""Their texts are redacted one by one when they are written; a history holds numbers only."""


@dataclass(frozen=True)
class ShrunkFile:
    """A file for the folder. ``note``: how it was made smaller; empty where it was not."""

    name: str
    content: bytes
    note: str = ""


def shrink_file(name: str, content: bytes, names: MachineNames, pictures: Mapping[str, str]) -> ShrunkFile | str:
    """Return the file with its name in the folder, or the reason why it is too large.

    A page that is too large links to the stored pictures; any other text that is too large is compressed.

    Args:
        pictures: SHA-256 of a kept picture → its kept name.
    """
    if name.endswith(PICTURE_SUFFIXES):
        return ShrunkFile(name, content) if len(content) <= MAX_FILE_BYTES else _over(len(content))
    text = without_machine(content.decode("utf-8", "backslashreplace"), names)
    if not name.endswith(_REDACTED_BEFORE):
        text = "".join(part if number % 2 else redact(part) for number, part in enumerate(EMBEDDED.split(text)))
    clean = text.encode("utf-8")
    if len(clean) <= MAX_FILE_BYTES:
        return ShrunkFile(name, clean)
    if name.endswith(".html"):
        linked = with_links(text, pictures, "../" * (len(PurePosixPath(name).parts) - 1)).encode("utf-8")
        if len(linked) <= MAX_FILE_BYTES:
            note = f"its pictures are links to the files here; with them in it, it has {size_text(len(clean))}"
            return ShrunkFile(name, linked, note)
    packed = gzip.compress(clean, mtime=0)
    if len(packed) <= MAX_FILE_BYTES:
        return ShrunkFile(f"{name}.gz", packed, f"compressed; {size_text(len(clean))} as text")
    return f"{_over(len(clean))}, and {size_text(len(packed))} compressed"


def with_links(page: str, pictures: Mapping[str, str], up: str) -> str:
    """Replace embedded pictures of a page by links to the same pictures in the folder."""

    def link(found: re.Match[str]) -> str:
        try:
            digest = sha256(base64.b64decode(found[1], validate=True)).hexdigest()
        except binascii.Error:
            return found[0]
        return f'src="{up}{pictures[digest]}"' if digest in pictures else found[0]

    return _EMBEDDED_PICTURE.sub(link, page)


def _over(size: int) -> str:
    return f"it has {size_text(size)}, the limit for one file is {size_text(MAX_FILE_BYTES)}"
