"""Imports of a checkout, and an interpreter that lacks some of them.

pytest tests/unit/targets/test_dependencies.py
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.helpers.stand_in import write_sources
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.targets.base import Target
from tinyworlds_gate.targets.checkout import checkout_target
from tinyworlds_gate.targets.dependencies import (
    Interpreter,
    imported_modules,
    probe_interpreter,
    require_packages,
    require_same_gpus,
)


@pytest.fixture
def target(tmp_path: Path) -> Target:
    found = checkout_target(write_sources(tmp_path / "checkout", "tinyworlds-fork"))
    assert found is not None
    return found


def add(target: Target, text: str) -> None:
    script = target.root / "utils/stage.py"
    script.write_text(script.read_text() + text)


def test_imports_are_followed_through_the_checkout_s_own_modules(target: Target) -> None:
    (target.root / "wandb/offline-run-1").mkdir(parents=True)
    found = imported_modules(target)
    assert {"torch", "numpy", "h5py", "yaml", "wandb", "matplotlib"} <= set(found)
    assert not {"utils", "models", "datasets", "os", "sys", "__future__"} & set(found)


def test_relative_imports_and_submodules_are_the_checkout_s_own(target: Target) -> None:
    (target.root / "utils/deep").mkdir()
    (target.root / "utils/deep/__init__.py").write_text("from . import inner\nfrom ..clock import tick\n")
    (target.root / "utils/deep/inner.py").write_text("import einops.layers\n")
    (target.root / "utils/clock.py").write_text("import omegaconf\n")
    add(target, "\nfrom utils.deep import inner\n")
    assert {"einops", "omegaconf"} <= set(imported_modules(target))


def test_optional_and_type_checking_imports_are_not_required(target: Target) -> None:
    optional = "\ntry:\n    import xformers\nexcept ImportError:\n    xformers = None\n"
    add(target, optional + "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import types_only\n")
    assert not {"xformers", "types_only"} & set(imported_modules(target))


def test_an_import_inside_a_function_is_required(target: Target) -> None:
    add(target, "\ndef late():\n    if True:\n        import cv2\n")
    assert "cv2" in imported_modules(target)


def test_a_script_that_cannot_be_parsed_is_named(target: Target) -> None:
    add(target, "\ndef broken(:\n")
    with pytest.raises(ConfigError, match=r"stage\.py cannot be parsed .*the checkout itself is broken"):
        imported_modules(target)


def test_each_missing_package_is_named_with_the_pip_line(target: Target) -> None:
    found = probe_interpreter(target, os.environ, ["json", "cv2_absent", "yaml", "PIL_absent"])
    assert found.imported == ("json", "yaml")
    assert set(found.missing) == {"cv2_absent", "PIL_absent"}
    with pytest.raises(
        ConfigError,
        match=r"cannot import 2 package\(s\) that the checkout needs: cv2_absent \(ModuleNotFoundError: .*"
        r"-m pip install cv2_absent PIL_absent, or name another interpreter with --target-python",
    ):
        require_packages(found)


def test_the_pip_line_names_distributions_and_not_modules() -> None:
    gone = "ModuleNotFoundError: No module named"
    lacking = Interpreter(Path("py"), {"cv2": f"{gone} 'cv2'", "yaml": f"{gone} 'yaml'"}, (), "3.12", None, 0)
    with pytest.raises(ConfigError, match=r"py -m pip install opencv-python pyyaml"):
        require_packages(lacking)


def test_an_installed_package_that_fails_to_import_is_not_called_missing(target: Target) -> None:
    (target.root / "halfbuilt.py").write_text("raise RuntimeError('operator halfbuilt::nms does not exist')\n")
    environment = {**os.environ, "PYTHONPATH": str(target.root)}
    found = probe_interpreter(target, environment, ["torch", "halfbuilt", "cv2_absent"])
    with pytest.raises(ConfigError) as caught:
        require_packages(found)
    told = str(caught.value)
    assert "halfbuilt (RuntimeError: operator halfbuilt::nms does not exist)" in told
    assert "halfbuilt failed while Python imported it, most often because it was built for another torch" in told
    assert f"than {found.torch}" in told
    assert "-m pip install --force-reinstall torch halfbuilt" in told
    assert "Install what is missing with: " in told
    assert "-m pip install cv2_absent." in told


def test_the_pip_line_names_what_an_installed_package_lacks(target: Target) -> None:
    (target.root / "needy.py").write_text("import PIL_absent.Image\n")
    environment = {**os.environ, "PYTHONPATH": str(target.root)}
    with pytest.raises(ConfigError, match=r"needy \(Module.*-m pip install PIL_absent, or name another"):
        require_packages(probe_interpreter(target, environment, ["needy"]))


def test_an_interpreter_that_another_process_ends_is_not_called_unusable(target: Target) -> None:
    (target.root / "ended.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\n")
    environment = {**os.environ, "PYTHONPATH": str(target.root)}
    with pytest.raises(ConfigError, match=r"got SIGTERM from another process while it imported ended.*start again"):
        probe_interpreter(target, environment, ["ended"])


def test_a_package_that_ends_the_interpreter_is_reported(target: Target) -> None:
    (target.root / "deadly.py").write_text(
        "import os, sys\nprint('no driver', file=sys.stderr, flush=True)\nos._exit(7)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(target.root)}
    with pytest.raises(ConfigError, match=r"ended with 7 while it imported deadly: no driver"):
        probe_interpreter(target, environment, ["deadly"])


def test_an_interpreter_that_does_not_start_is_reported(target: Target) -> None:
    import dataclasses

    broken = dataclasses.replace(target, python=target.root / "configs")
    with pytest.raises(ConfigError, match=r"does not answer .*--target-python"):
        probe_interpreter(broken, os.environ, ["json"])


def test_gpus_that_its_torch_cannot_use_are_reported_before_anything_starts() -> None:
    found = Interpreter(Path(sys.executable), {}, ("torch",), "3.12", "2.13.0+cpu", 0)
    require_same_gpus(found, 0, "auto")
    require_same_gpus(found, 2, "cpu")
    with pytest.raises(
        ConfigError, match=r"torch 2\.13\.0\+cpu .* can use 0 GPU\(s\), NVML shows 2: install a CUDA build"
    ):
        require_same_gpus(found, 2, "auto")
