"""The stages of a whole loop read the run's own copy of the settings files (P1)."""

from __future__ import annotations

import pytest

from tests.helpers.tiny_project import Session
from tinyworlds_gate.config.profile_files import SETTINGS_FILES, file_digests


@pytest.mark.requirement("P1")
def test_a_run_keeps_its_settings_files_and_every_child_reads_them(passing: Session) -> None:
    kept = passing.run / "configs"
    assert sorted(path.name for path in kept.iterdir()) == sorted(SETTINGS_FILES)
    assert file_digests(kept) == file_digests(passing.project / "configs/profiles/smoke")
    assert passing.events("settings_resolved")[0]["files"] == file_digests(kept)
    for event in [*passing.events("chunk_started"), *passing.events("inference_started")]:
        command = event["command"]
        assert command[command.index("--config") + 1].startswith(str(kept)), command
    assert passing.events("settings_edited") == []
