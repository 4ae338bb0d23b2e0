"""One kept file: small, clean, or left out with its reason.

python -m pytest tests/unit/keep/test_shrink.py
"""

from __future__ import annotations

import base64
import gzip
import random
from hashlib import sha256

from tinyworlds_gate.keep.machine_names import MachineNames
from tinyworlds_gate.keep.shrink import MAX_FILE_BYTES, ShrunkFile, shrink_file, with_links

NAMES = MachineNames(roots=("/r/project",))
NOISE = random.Random(1)


def large_csv() -> bytes:
    return b"".join(b"%d,0.1,/r/project/x\n" % step for step in range(180_000))


def test_a_small_text_is_kept_clean() -> None:
    assert shrink_file("a.md", b"see /r/project/x", NAMES, {}) == ShrunkFile("a.md", b"see ./x")


def test_bytes_that_are_no_text_become_escapes() -> None:
    assert shrink_file("a.csv", b"\xff,1", NAMES, {}) == ShrunkFile("a.csv", b"\\xff,1")


def test_a_large_text_is_kept_compressed_the_same_bytes_each_time() -> None:
    content = large_csv()
    assert len(content) > MAX_FILE_BYTES
    found = shrink_file("history/a.csv", content, NAMES, {})
    assert isinstance(found, ShrunkFile)
    assert (found.name, found.note) == ("history/a.csv.gz", "compressed; 2.5 MiB as text")
    assert gzip.decompress(found.content) == content.replace(b"/r/project", b".")
    assert shrink_file("history/a.csv", content, NAMES, {}) == found


def test_a_text_that_compresses_too_little_is_left_out_with_both_sizes() -> None:
    content = base64.b64encode(NOISE.randbytes(3 * 2**20))
    found = shrink_file("a.csv", content, NAMES, {})
    assert found == "it has 4.0 MiB, the limit for one file is 2.0 MiB, and 3.0 MiB compressed"


def test_a_picture_of_the_limit_is_kept_and_one_byte_more_is_left_out() -> None:
    assert isinstance(shrink_file("a.png", b"x" * MAX_FILE_BYTES, NAMES, {}), ShrunkFile)
    found = shrink_file("a.png", b"x" * (MAX_FILE_BYTES + 1), NAMES, {})
    assert found == "it has 2.0 MiB, the limit for one file is 2.0 MiB"


def test_a_page_that_is_too_large_links_the_pictures_that_are_kept() -> None:
    picture, other = NOISE.randbytes(2 * 2**20), b"another picture"
    images = [f'<img src="data:image/png;base64,{base64.b64encode(one).decode()}">' for one in (picture, other)]
    page = f"<html>{''.join(images)}</html>".encode()
    found = shrink_file("reports/page.html", page, NAMES, {sha256(picture).hexdigest(): "pictures/a.png"})
    assert isinstance(found, ShrunkFile)
    assert found.content.decode() == f'<html><img src="../pictures/a.png">{images[1]}</html>'
    assert found.note == "its pictures are links to the files here; with them in it, it has 2.7 MiB"


def test_a_picture_that_is_no_base64_stays() -> None:
    assert with_links('src="data:image/png;base64,A=B"', {}, "") == 'src="data:image/png;base64,A=B"'
