"""Check that the HTML page of a run opens: whole, about this run, loading nothing, and with its pictures in it (A8)."""

from __future__ import annotations

import base64
import binascii
from html.parser import HTMLParser
from pathlib import Path

from tinyworlds_gate.reports.model import RunRecord
from tinyworlds_gate.reports.page import MAX_PICTURE_BYTES, read_picture

PNG = "data:image/png;base64,"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
LOADED = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "link": "href",
}
"""Tag → the attribute whose target a browser loads to show the page."""


def page_problem(record: RunRecord, page: Path) -> str | None:
    """Return why the page is no evidence of the run, or None.

    Raises:
        OSError: the page exists and cannot be read.
    """
    try:
        text = page.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return "the page does not exist"
    found = _parse(text)
    if not {"html", "/html"} <= found.tags:
        return "it is no whole HTML page: <html> or </html> is missing"
    if record.run not in text:
        return f"it is not about the run {record.run}"
    if outside := [target for target in found.loads if not target.startswith("data:")]:
        return f"it is not self-contained: it loads {outside[0][:120]}"
    pictures = [_decoded(target) for target in found.loads if target.startswith(PNG)]
    broken = sum(picture is None for picture in pictures)
    if broken:
        return f"{broken} of its {len(pictures)} pictures cannot be decoded as PNG"
    if record.attempts and not pictures:
        return "it has no picture"
    absent = [path for path in expected_pictures(record) if (record.project_root / path).read_bytes() not in pictures]
    return f"the picture {absent[0]} is not in it" if absent else None


def expected_pictures(record: RunRecord) -> list[str]:
    """Return the pictures of the last attempt that the page must embed: PNG files that are not too large."""
    if not record.attempts:
        return []
    last = record.attempts[-1]
    named = [(last.drawn or {}).get("picture"), (last.finished or {}).get("picture")]
    return [str(path) for path in named if path and _fits(record, str(path))]


def _fits(record: RunRecord, path: str) -> bool:
    try:
        return len(read_picture(record.project_root, path)) <= MAX_PICTURE_BYTES
    except OSError:
        return False


def _decoded(target: str) -> bytes | None:
    try:
        data = base64.b64decode(target.removeprefix(PNG), validate=True)
    except binascii.Error:
        return None
    return data if is_whole_png(data) else None


def is_whole_png(data: bytes) -> bool:
    """Whether the bytes have a PNG's signature and its end chunk, so that a truncated picture is none."""
    return data.startswith(PNG_SIGNATURE) and b"IEND" in data[-12:]


class _Page(HTMLParser):
    """Collect the tags of a page, and what a browser loads to show it."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        target = dict(attrs).get(LOADED.get(tag, ""))
        if target:
            self.loads.append(target)

    def handle_endtag(self, tag: str) -> None:
        self.tags.add(f"/{tag}")


def _parse(text: str) -> _Page:
    page = _Page()
    page.feed(text)
    page.close()
    return page
