"""Pictures look the same and are drawn with Agg, whatever backend and style a process inherited.

pytest tests/unit/run/test_drawing.py
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.config_files import REPOSITORY

DRAW = """
import os, sys
from pathlib import Path
before = {name: os.environ.get(name) for name in ("MPLBACKEND", "MATPLOTLIBRC")}
from tinyworlds_gate.evidence.metrics.history import LOSS, History
from tinyworlds_gate.evidence.metrics.plots import draw_stage
from tinyworlds_gate.gate.evidence import check_picture
history = History("video_tokenizer", Path("x.csv"), (0, 1, 2), {LOSS: (3.0, 2.0, 1.0)})
(path,) = draw_stage(history, Path(sys.argv[1]))
assert check_picture(path).path is not None, check_picture(path)
assert before == {name: os.environ.get(name) for name in before}
print("drawn", flush=True)
"""
STYLE = "backend: TkAgg\ntext.usetex: True\nsavefig.bbox: tight\nfigure.dpi: 17\naxes.facecolor: 000000\n"
INLINE = "module://matplotlib_inline.backend_inline"
INHERITED: dict[str, tuple[dict[str, str], bool]] = {
    "nothing": ({}, False),
    "a notebook": ({"MPLBACKEND": INLINE}, False),
    "a window": ({"MPLBACKEND": "TkAgg", "DISPLAY": ":99"}, False),
    "all at once": ({"MPLBACKEND": INLINE, "MATPLOTLIBRC": "{style}"}, True),
}


def digest_drawn(folder: Path, inherited: dict[str, str], here: bool) -> str:
    """The SHA-256 of a picture that a process draws which inherited this."""
    folder.mkdir()
    style = folder / "elsewhere" / "matplotlibrc"
    style.parent.mkdir()
    style.write_text(STYLE)
    if here:
        (folder / "matplotlibrc").write_text(STYLE)
    clean = {name: value for name, value in os.environ.items() if name not in ("MPLBACKEND", "MATPLOTLIBRC")}
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    env = {**clean, "PYTHONPATH": path, **{k: v.format(style=style) for k, v in inherited.items()}}
    done = subprocess.run(
        [sys.executable, "-c", DRAW, str(folder / "plots")],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "drawn\n", done.stderr
    (picture,) = (folder / "plots").iterdir()
    return hashlib.sha256(picture.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The picture of a process that inherited neither backend nor style."""
    return digest_drawn(tmp_path_factory.mktemp("plain") / "x", *INHERITED["nothing"])


@pytest.mark.requirement("A4")
@pytest.mark.parametrize("name", [name for name in INHERITED if name != "nothing"])
def test_a_picture_does_not_depend_on_an_inherited_backend_or_style(tmp_path: Path, plain: str, name: str) -> None:
    assert digest_drawn(tmp_path / "x", *INHERITED[name]) == plain
