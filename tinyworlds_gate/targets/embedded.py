"""Build the target for the reference world model inside this package."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import tinyworlds_gate
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.targets.base import Target

_SCRIPTS_PACKAGE = "tinyworlds_gate.reference.scripts"


def embedded_target(project_root: Path, config_dir: Path) -> Target:
    """Return the target with the package's own scripts and the configs in ``config_dir``.

    ``config_dir`` may be relative to ``project_root``. Raises ``ConfigError`` if one of the folders is missing.
    """
    root = Path(project_root).resolve()
    configs = (root / config_dir).resolve()
    for what, folder in (("project root", root), ("config folder", configs)):
        if not folder.is_dir():
            raise ConfigError(f"The {what} {folder} does not exist. Name an existing folder.")
    package = Path(tinyworlds_gate.__file__).resolve().parent
    scripts = package / "reference" / "scripts"
    return Target(
        kind="embedded",
        root=root,
        python=Path(sys.executable),
        stage_scripts={stage: scripts / f"train_{stage}.py" for stage in STAGES},
        inference_script=scripts / "run_inference.py",
        probe_script=scripts / "run_probe.py",
        config_dir=configs,
        stage_modules={stage: f"{_SCRIPTS_PACKAGE}.train_{stage}" for stage in STAGES},
        import_paths=(root, *package_path()),
        shared_scripts=True,
    )


def package_path() -> tuple[Path, ...]:
    """Return this package's parent folder for PYTHONPATH; empty if the package is installed.

    Site-packages on PYTHONPATH would shadow the standard library.
    """
    parent = Path(tinyworlds_gate.__file__).resolve().parent.parent
    installed = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}
    return () if parent in installed else (parent,)
