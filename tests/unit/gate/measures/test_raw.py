"""A measures file is whole, or it says what it lacks. ``pytest tests/unit/gate/measures/test_raw.py``"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tinyworlds_gate.gate.measures.raw import (
    CLIP_KEYS,
    OPTIONAL_PER_STEP_KEYS,
    PER_STEP_KEYS,
    RUN_KEYS,
    MeasuresError,
    read_raw,
)

CLIP = {**dict.fromkeys(CLIP_KEYS, 0), **{key: [0.5, 1] for key in PER_STEP_KEYS}}
WHOLE: dict[str, Any] = {**dict.fromkeys(RUN_KEYS, 0), "generation_steps": 2, "clips": [CLIP, CLIP]}


def written(folder: Path, content: object) -> Path:
    path = folder / "measures.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def with_clip(**changes: Any) -> dict[str, Any]:
    return {**WHOLE, "clips": [CLIP, {**CLIP, **changes}]}


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    optional = [{**CLIP, **{key: [0, 0.25] for key in OPTIONAL_PER_STEP_KEYS}}] * 2
    for content in (WHOLE, {**WHOLE, "clips": optional}):
        assert read_raw(written(tmp_path, content)) == content


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], ": the measures are a list, not a mapping; run inference again"),
        ({**WHOLE, "clips": []}, ": the measures hold no clip; nothing was evaluated, and that is not a pass"),
        *(({**WHOLE, key: None}, f": the measures have no {key}; run inference again") for key in RUN_KEYS),
        ({**WHOLE, "clips": [CLIP, 3]}, ": clip number 2 is no mapping; run inference again"),
        *((with_clip(**{key: [1]}), f": clip at 0 has 1 values of {key}, expected 2") for key in PER_STEP_KEYS),
        *((with_clip(**{key: None}), f": clip at 0 has 0 values of {key}, expected 2") for key in PER_STEP_KEYS),
        *((with_clip(**{key: [1, 2, 3]}), f": clip at 0 has 3 values of {key}, expected "
        f"2") for key in OPTIONAL_PER_STEP_KEYS),
        *((with_clip(**{key: [1, 2]}), f": 1 of 2 clips have {key}; all or none "
        f"must") for key in OPTIONAL_PER_STEP_KEYS),
        (with_clip(start=7, rollout_mse=[1, "a"]), ": clip at 7 has the value 'a' in rollout_mse; only numbers are "
        "errors"),
        *(
            (with_clip(**{key: None}), f": clip at {None if key == 'start' else 0} has no {key}; run inference again")
            for key in CLIP_KEYS
        ),
    ],
)  # fmt: skip
def test_a_file_that_is_not_whole_is_named(content: object, said: str, tmp_path: Path) -> None:
    path = written(tmp_path, content)
    with pytest.raises(MeasuresError) as caught:
        read_raw(path)
    assert str(caught.value) == f"{path}{said}"


def test_a_file_that_is_missing_or_no_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "measures.json"
    with pytest.raises(MeasuresError, match="the inference run left no measures; read its log for the reason"):
        read_raw(path)
    for content in (b"{", b"\xff"):
        path.write_bytes(content)
        with pytest.raises(MeasuresError, match=r"the measures are not readable JSON \(.*\); run inference again"):
            read_raw(path)
