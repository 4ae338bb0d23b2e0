"""One tiny project per test, and the sessions that many tests look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.measured_once import objects_measured_once
from tests.helpers.tiny_project import Session, checkpoint_options, make_project, run_pytest
from tests.helpers.workers import make_once


@pytest.fixture(scope="session", autouse=True)
def _measured_once() -> Iterator[None]:
    with objects_measured_once():
        yield


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A fresh tiny project."""
    return make_project(tmp_path / "project")


@pytest.fixture(scope="session")
def retrained(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """The whole loop: four updates of dynamics fail, the retry's updates pass."""

    def run(folder: Path) -> Session:
        words = ["validation", "-m", "smoke", "-v", "--dynamics-target-updates", "4"]
        return run_pytest(make_project(folder / "project"), *words)

    return make_once(tmp_path_factory, "retrained", run)


@pytest.fixture(scope="session")
def spent(tmp_path_factory: pytest.TempPathFactory, passing: Session) -> Session:
    """Dynamics alone on the passing run's other models: two updates, and two retries of one update each."""
    given = checkpoint_options(passing, "video_tokenizer", "latent_actions")
    words = ["--only-stage", "dynamics", *given, "--dynamics-target-updates", "2", "--retry-chunk", "1"]

    def run(folder: Path) -> Session:
        return run_pytest(make_project(folder / "project"), "validation", "-m", "smoke", *words)

    return make_once(tmp_path_factory, "spent", run)
