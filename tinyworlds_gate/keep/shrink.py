"""One file's content as it is kept: small, and without the machine's names; or why it cannot be kept (pure)."""

from __future__ import annotations

import base64
import binascii
import gzip
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import PurePosixPath

from tinyworlds_gate.keep.machine_names import MachineNames, without_machine

MAX_FILE_BYTES = 2 * 2**20
"""No kept file is larger: the folder is committed."""
MAX_READ_BYTES = 32 * MAX_FILE_BYTES
"""Not even read: no text shrinks so far."""
PICTURE_SUFFIXES = (".png",)

_EMBEDDED_PICTURE = re.compile(r'src="data:image/png;base64,([A-Za-z0-9+/=]+)"')


@dataclass(frozen=True)
class Fitted:
    """A file as it is kept. ``note``: what was done to make it small; empty where nothing was."""

    name: str
    content: bytes
    note: str = ""


@dataclass(frozen=True)
class TooLarge:
    """Why a file is not kept."""

    reason: str


def fitted(name: str, content: bytes, names: MachineNames, pictures: Mapping[str, str]) -> Fitted | TooLarge:
    """A file under its kept name.

    A page that is too large links the pictures that are kept beside it; any other text is compressed.

    Args:
        pictures: SHA-256 of a kept picture → its kept name.
    """
    if name.endswith(PICTURE_SUFFIXES):
        return Fitted(name, content) if len(content) <= MAX_FILE_BYTES else TooLarge(_over(len(content)))
    text = without_machine(content.decode("utf-8", "backslashreplace"), names)
    clean = text.encode("utf-8")
    if len(clean) <= MAX_FILE_BYTES:
        return Fitted(name, clean)
    if name.endswith(".html"):
        linked = with_links(text, pictures, "../" * (len(PurePosixPath(name).parts) - 1)).encode("utf-8")
        if len(linked) <= MAX_FILE_BYTES:
            note = f"its pictures are links to the files here; with them in it, it has {size_told(len(clean))}"
            return Fitted(name, linked, note)
    packed = gzip.compress(clean, mtime=0)
    if len(packed) <= MAX_FILE_BYTES:
        return Fitted(f"{name}.gz", packed, f"compressed; {size_told(len(clean))} as text")
    return TooLarge(f"{_over(len(clean))}, and {size_told(len(packed))} compressed")


def with_links(page: str, pictures: Mapping[str, str], up: str) -> str:
    """A page whose embedded pictures are links where the same picture is kept beside it."""

    def link(found: re.Match[str]) -> str:
        try:
            digest = sha256(base64.b64decode(found[1], validate=True)).hexdigest()
        except binascii.Error:
            return found[0]
        return f'src="{up}{pictures[digest]}"' if digest in pictures else found[0]

    return _EMBEDDED_PICTURE.sub(link, page)


def _over(size: int) -> str:
    return f"it has {size_told(size)}, the limit for one file is {size_told(MAX_FILE_BYTES)}"


def size_told(size: int) -> str:
    """`812 B`, `3.4 KiB`, `2.0 MiB`."""
    if size < 1024:
        return f"{size} B"
    return f"{size / 1024:.1f} KiB" if size < 2**20 else f"{size / 2**20:.1f} MiB"
