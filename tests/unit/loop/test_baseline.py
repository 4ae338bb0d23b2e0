"""A baseline that no run of these settings could be compared with is refused before anything starts.

pytest tests/unit/loop/test_baseline.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.commands import REPOSITORY
from tests.unit.compare.cards import made_card
from tests.unit.compare.test_baseline_file import written
from tinyworlds_gate.config.load import Settings, resolve_settings
from tinyworlds_gate.errors import ConfigError, GateError
from tinyworlds_gate.gate.evidence import asked_settings
from tinyworlds_gate.loop.baseline import require_usable_baseline, required_by
from tinyworlds_gate.names import ATTEMPTS


@pytest.fixture(scope="module")
def settings() -> Settings:
    return resolve_settings("smoke", {}, project_root=REPOSITORY)


def baseline(folder: Path, settings: Settings, **changes: Any) -> dict[str, str]:
    asked = asked_settings(settings, ATTEMPTS, None)
    written(folder / "baseline.json", made_card(0, settings={**asked, **changes}))
    return {"baseline": "baseline.json"}


def test_a_baseline_of_the_same_task_is_usable(tmp_path: Path, settings: Settings) -> None:
    require_usable_baseline(baseline(tmp_path, settings), settings, tmp_path)
    require_usable_baseline(baseline(tmp_path, settings, decode_steps=99, stride=None), settings, tmp_path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"context": 1}, "context frames 1 in the baseline"),
        ({"generation_steps": 99}, "generated frames 99 in the baseline"),
        ({"teacher_forced": True}, "teacher-forced True in the baseline and False here"),
        ({"frame_size": 8}, "frame size 8 in the baseline"),
    ],
)
def test_a_baseline_of_another_task_is_refused(
    tmp_path: Path, settings: Settings, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        require_usable_baseline(baseline(tmp_path, settings, **changes), settings, tmp_path)


def test_a_missing_baseline_is_refused(tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(GateError, match=r"none\.json: the baseline cannot be read"):
        require_usable_baseline({"baseline": "none.json"}, settings, tmp_path)


@pytest.mark.parametrize(
    ("options", "required"),
    [
        ({}, None),
        ({"fail_on": "worse"}, "not worse"),
        ({"require_better": True}, "better"),
        ({"require_better": True, "fail_on": "worse"}, "better"),
        ({"require_better": False}, None),
    ],
)
def test_the_options_say_what_is_required(options: dict[str, Any], required: str | None) -> None:
    assert required_by(options) == required
