"""Rows of the fault matrix: resume."""

from __future__ import annotations

from tests.faults.fault import Fault

ROWS: tuple[Fault, ...] = ()
