"""Fixtures for the GPUs, and the option that records the measurements (``--record-devices FOLDER``).

python -m pytest tests/gpu -m gpu --record-devices results/devices
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.gpu.record import Control, DeviceRecord
from tinyworlds_gate.launch.devices.nvml import GpuInfo, Nvml

RECORD = pytest.StashKey[DeviceRecord]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--record-devices",
        metavar="FOLDER",
        type=Path,
        help="write the raw samples of each control, a summary and a table there",
    )


def pytest_configure(config: pytest.Config) -> None:
    folder = config.getoption("--record-devices", default=None)
    config.stash[RECORD] = DeviceRecord(folder)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if item.get_closest_marker("gpu") is not None:
        item.config.stash[RECORD].note(item.name, report)
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    session.config.stash[RECORD].write()


@pytest.fixture(scope="session")
def gpus() -> list[GpuInfo]:
    """The GPUs that a launch can use; skip the test when there are too few."""
    with Nvml() as nvml:
        found = [device for device in nvml.devices if not device.mig]
        if not found:
            pytest.skip(f"needs an NVIDIA GPU, found 0 ({nvml.problem})")
        return found


@pytest.fixture(scope="session")
def two_gpus(gpus: list[GpuInfo]) -> list[GpuInfo]:
    if len(gpus) < 2:
        pytest.skip(f"needs 2 NVIDIA GPUs, found {len(gpus)}")
    return gpus[:2]


@pytest.fixture
def control(request: pytest.FixtureRequest) -> Control:
    """The record into which a test writes its measurements."""
    return request.config.stash[RECORD].control(request.node.name)
