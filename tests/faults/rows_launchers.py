"""Rows of the fault matrix: launchers."""

from __future__ import annotations

from tests.faults.fault import Fault

ROWS: tuple[Fault, ...] = ()
