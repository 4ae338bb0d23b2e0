"""Rows of the fault matrix: interrupts."""

from __future__ import annotations

from tests.faults.fault import Fault

ROWS: tuple[Fault, ...] = ()
