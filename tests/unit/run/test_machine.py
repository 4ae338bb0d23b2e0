"""The CPUs and the memory of this machine, as the kernel counts them. ``pytest tests/unit/run/test_machine.py``"""

from __future__ import annotations

import os

import pytest

from tinyworlds_gate.run.machine import GIB, total_memory_gib, usable_cpus


def test_memory_is_counted_in_gib() -> None:
    assert GIB == 1024 * 1024 * 1024
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert total_memory_gib() == pytest.approx(memory / 1024**3, rel=0.05)


def test_only_cpus_that_this_process_may_use_count() -> None:
    allowed = os.sched_getaffinity(0)
    assert usable_cpus() == len(allowed)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert usable_cpus() == 1
    finally:
        os.sched_setaffinity(0, allowed)
