"""Marks of tests that depend on how torch was built."""

from __future__ import annotations

import pytest
import torch

compiles = pytest.mark.skipif(
    torch.version.cuda is not None and not torch.cuda.is_available(),
    reason="torch.compile of a CUDA build fails where no GPU is visible",
)
