"""Training on a CPU keeps freed memory, so that repeated allocations cost no page faults."""

from __future__ import annotations

import subprocess
import sys

REPEATED = """
import resource, sys
from tinyworlds_gate.reference.training.heap import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
bytearray(40_000_000)
before = faults()
for _ in range(20):
    bytearray(40_000_000)
print(faults() - before)
"""


def page_faults(setting: str) -> int:
    """Return the page faults of twenty allocations of 40 MB after a first one, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", REPEATED, setting], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_repeated_allocations_reuse_the_memory_of_the_first() -> None:
    assert page_faults("kept") < page_faults("as the system does it") / 5
