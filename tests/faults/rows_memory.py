"""Rows of the fault matrix: memory."""

from __future__ import annotations

from tests.faults.fault import Fault

ROWS: tuple[Fault, ...] = ()
