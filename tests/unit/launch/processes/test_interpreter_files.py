"""When another file holds the interpreter that this process runs.

pytest tests/unit/launch/processes/test_interpreter_files.py
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tinyworlds_gate.launch.processes import python_stack


def test_another_file_holds_the_same_interpreter_if_its_bytes_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = python_stack._own_library()
    assert library is not None
    whole = Path(library).read_bytes()
    copy, other, longer = tmp_path / "copy", tmp_path / "other", tmp_path / "longer"
    for path, content in ((copy, whole), (other, b"x" + whole[1:]), (longer, whole + b"x")):
        path.write_bytes(content)
    assert python_stack._same_content(str(copy), copy.stat().st_ino)
    assert not python_stack._same_content(str(copy), copy.stat().st_ino + 1)
    for path in (other, longer):
        assert not python_stack._same_content(str(path), path.stat().st_ino)
    assert not python_stack._same_content(str(tmp_path / "gone"), 1)
    python_stack._same_content.cache_clear()
    monkeypatch.setattr(python_stack, "_own_library", lambda: None)
    assert not python_stack._same_content(str(copy), copy.stat().st_ino)
    monkeypatch.undo()
    python_stack._same_content.cache_clear()
