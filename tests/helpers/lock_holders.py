"""A process that holds a project's lock, as a running harness does: ``python -c HOLDER <project>``."""

from __future__ import annotations

HOLDER = (
    "import sys, time\n"
    "from pathlib import Path\n"
    "from tinyworlds_gate.run.lock import ProjectLock\n"
    "with ProjectLock(Path(sys.argv[1]), run='first'):\n"
    "    print('held', flush=True)\n"
    "    time.sleep(60)\n"
)

HOLDER_WITH_FORKED_CHILD = HOLDER.replace(
    "    print", "    import os\n    if os.fork() == 0: time.sleep(3); os._exit(0)\n    print"
)
