"""The distributions: the wheel has the package, the validation tests and the settings, and nothing else.

pytest tests/unit/test_wheel.py
"""

from __future__ import annotations

import email
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.helpers.commands import REPOSITORY
from tinyworlds_gate import __version__

MAPPED = {"validation/": "tinyworlds_gate/validation/", "configs/": "tinyworlds_gate/configs/"}
BUILD = "from setuptools import build_meta as b; b.build_sdist('dist'); b.build_wheel('dist')"
BUILD_FROM_SDIST = "from setuptools import build_meta as b; b.build_wheel('dist')"


def tracked() -> list[str]:
    """The files of the repository that git tracks or would track."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout, so there is no list of its files")
    return [name for name in listed.stdout.decode().split("\0") if name and (REPOSITORY / name).is_file()]


def build(folder: Path, program: str) -> None:
    """Run setuptools' own build in a folder, as pip does."""
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with both distributions in dist/."""
    folder = tmp_path_factory.mktemp("repository")
    for name in tracked():
        if not name.startswith(("tests/", "docs/")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(REPOSITORY / name, folder / name)
    build(folder, BUILD)
    return folder


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}


def wheel_of(folder: Path) -> Path:
    [wheel] = (folder / "dist").glob("*.whl")
    return wheel


def test_the_wheel_has_every_file_of_the_package_the_validation_tests_and_the_settings(built: Path) -> None:
    expected = {name: name for name in tracked() if name.startswith("tinyworlds_gate/")}
    for folder, inside in MAPPED.items():
        expected |= {name.replace(folder, inside, 1): name for name in tracked() if name.startswith(folder)}
    found = contents(wheel_of(built))
    assert set(found) == set(expected)
    assert [name for name, source in expected.items() if found[name] != (REPOSITORY / source).read_bytes()] == []


def test_the_wheel_is_the_same_when_it_is_built_from_the_source_distribution(built: Path, tmp_path: Path) -> None:
    [archive] = (built / "dist").glob("*.tar.gz")
    with tarfile.open(archive) as sources:
        sources.extractall(tmp_path, filter="data")
    [folder] = tmp_path.iterdir()
    build(folder, BUILD_FROM_SDIST)
    assert contents(wheel_of(folder)) == contents(wheel_of(built))


def test_the_metadata_names_pytest_the_version_and_where_the_project_lives(built: Path) -> None:
    with zipfile.ZipFile(wheel_of(built)) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = email.message_from_bytes(archive.read(name))
    assert metadata["Version"] == __version__
    assert wheel_of(built).name == f"tinyworlds_gate-{__version__}-py3-none-any.whl"
    assert "Framework :: Pytest" in metadata.get_all("Classifier", [])
    assert len(metadata.get_all("Project-URL", [])) == 4
    assert metadata["License-Expression"] == "MIT"
