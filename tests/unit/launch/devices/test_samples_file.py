"""Reading a chunk's recorded samples: damaged files are refused with the file, the line and the fix.

pytest tests/unit/launch/devices/test_samples_file.py
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.helpers.process_evidence import GPU0, TREE, WORKER0, beats, gpu, sample_at
from tinyworlds_gate.errors import DataError
from tinyworlds_gate.launch.devices.samples_file import LONGEST_PROBLEM, read_samples

SAMPLE = sample_at(1.0, gpu(GPU0, 90, [WORKER0]))
FIX = r"; name a file results/RUN/devices/chunk_….jsonl$"


def lines(*records: object) -> str:
    return "".join(f"{json.dumps(record)}\n" for record in records)


@pytest.mark.requirement("L3", "H6")
def test_samples_and_heartbeats_are_read_and_an_incomplete_last_line_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "chunk.jsonl"
    (beat,) = beats(0, GPU0, end=9.0)
    without_host = {key: value for key, value in asdict(beat).items() if key != "host"}
    records = [asdict(SAMPLE), {"kind": "sample", **asdict(SAMPLE)}, {"kind": "beat", **asdict(beat)}]
    path.write_text(lines(*records, {"kind": "beat", **without_host}) + '{"time": 2.')
    found = read_samples(path)
    assert found.samples == (SAMPLE, SAMPLE)
    assert [one.host for one in found.beats] == ["here", ""]
    assert found.beats[0] == beat
    assert found.tree == frozenset(TREE)


@pytest.mark.parametrize("kind", ["missing", "folder", "binary"])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "chunk.jsonl"
    if kind == "folder":
        path.mkdir()
    elif kind == "binary":
        path.write_bytes(b"\xff\xfe\n")
    with pytest.raises(DataError, match=rf"chunk.jsonl cannot be read: .+{FIX}"):
        read_samples(path)


@pytest.mark.parametrize(
    "line",
    ["{", "[]", '"text"', '{"time": 1.0}', '{"kind": "beat", "rank": 0}'],
    ids=["torn", "list", "text", "", "beat"],
)
def test_a_line_that_is_no_sample_is_refused_with_its_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "chunk.jsonl"
    path.write_text(lines(asdict(SAMPLE)) + line + "\n")
    with pytest.raises(DataError, match=rf"chunk.jsonl, line 2 is not a device sample \(.+\){FIX}") as raised:
        read_samples(path)
    assert len(str(raised.value)) < len(str(path)) + LONGEST_PROBLEM + 120
    assert "\n" not in str(raised.value)
