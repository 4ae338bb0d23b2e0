"""`python -m tinyworlds_gate` is `tinyworlds-gate`."""

from __future__ import annotations

import sys

from tinyworlds_gate.cli.main import main

sys.exit(main())
