"""The fault matrix: every fault, in the order of docs/faults.md."""

from __future__ import annotations

from tests.faults import (
    rows_artifacts,
    rows_devices,
    rows_disk,
    rows_environment,
    rows_interrupts,
    rows_launchers,
    rows_memory,
    rows_processes,
    rows_resume,
    rows_surroundings,
)
from tests.faults.fault import Fault, Section

SECTIONS = (
    Section("Processes", rows_processes.ROWS),
    Section("Memory", rows_memory.ROWS),
    Section("Launchers, harnesses and bystanders", rows_launchers.ROWS),
    Section("Hangs and interrupts", rows_interrupts.ROWS),
    Section("Checkpoints and other artifacts", rows_artifacts.ROWS),
    Section("Disk", rows_disk.ROWS),
    Section("Devices", rows_devices.ROWS),
    Section("Environment", rows_environment.ROWS + rows_surroundings.ROWS),
    Section("Resuming", rows_resume.ROWS),
)
FAULTS: tuple[Fault, ...] = tuple(row for section in SECTIONS for row in section.rows)
