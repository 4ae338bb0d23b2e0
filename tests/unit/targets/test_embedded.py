"""Targets: the embedded reference and the required files of every target.

pytest tests/unit/targets/test_embedded.py
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

import tinyworlds_gate
from tests.helpers.process_projects import make_project
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.targets.embedded import embedded_target


def test_the_embedded_target_runs_the_scripts_of_this_package(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    target = embedded_target(tmp_path, Path("configs"))
    package = Path(tinyworlds_gate.__file__).parent
    assert target.stage_script("dynamics") == package / "reference" / "scripts" / "train_dynamics.py"
    assert target.stage_config("dynamics") == tmp_path / "configs" / "dynamics.yaml"
    assert target.training_config == tmp_path / "configs" / "training.yaml"
    assert target.python == Path(sys.executable)
    assert target.shared_scripts


def test_a_child_in_the_project_imports_the_package_that_the_harness_runs(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    target = embedded_target(tmp_path, Path("configs"))
    front = [str(path) for path in target.import_paths]
    code = f"import sys; sys.path[:0] = {front!r}; import tinyworlds_gate; print(tinyworlds_gate.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == tinyworlds_gate.__file__


@pytest.mark.parametrize("missing", ["project root", "config folder"])
def test_a_missing_folder_is_named(tmp_path: Path, missing: str) -> None:
    root = tmp_path / "absent" if missing == "project root" else tmp_path
    with pytest.raises(ConfigError, match=f"The {missing} .* does not exist"):
        embedded_target(root, Path("configs"))


def test_missing_files_are_all_named_before_anything_starts(tmp_path: Path) -> None:
    target = make_project(tmp_path)
    target.check_files()
    target.stage_script("dynamics").unlink()
    target.training_config.unlink()
    with pytest.raises(ConfigError, match=r"lacks 2 of its files: .*train_dynamics\.py, .*training\.yaml"):
        target.check_files()


def test_a_target_must_name_a_script_for_every_stage(tmp_path: Path) -> None:
    target = make_project(tmp_path)
    with pytest.raises(ConfigError, match="names no script for latent_actions, dynamics"):
        dataclasses.replace(target, stage_scripts={STAGES[0]: Path("x")})
