"""Student's t distribution against published quantiles.

pytest tests/unit/compare/test_student.py
"""

from __future__ import annotations

import pytest

from tinyworlds_gate.compare.student import two_sided_p, two_sided_quantile


@pytest.mark.parametrize(
    ("level", "freedom", "quantile"),
    [(0.05, 1, 12.706), (0.05, 2, 4.303), (0.05, 9, 2.262), (0.01, 5, 4.032), (0.01, 30, 2.750), (0.05, 120, 1.980)],
)
def test_the_quantiles_are_those_of_the_tables(level: float, freedom: int, quantile: float) -> None:
    assert two_sided_quantile(level, freedom) == pytest.approx(quantile, abs=6e-4)
    assert two_sided_p(quantile, freedom) == pytest.approx(level, rel=2e-3)


def test_degrees_of_freedom_are_rounded_down() -> None:
    assert two_sided_p(2.0, 4.9) == two_sided_p(2.0, 4)
    assert two_sided_p(2.0, 0.3) == two_sided_p(2.0, 1)
    assert two_sided_p(0.0, 3) == 1.0
