"""Parts of the search for motions. ``pytest tests/unit/gate/measures/test_motions.py``"""

from __future__ import annotations

import numpy as np
import pytest

from tinyworlds_gate.gate.measures.motions import _between


@pytest.mark.requirement("G8")
@pytest.mark.parametrize("turned", [False, True], ids=["a row", "a column"])
def test_the_places_between_two_of_a_row_or_of_a_column_are_found(turned: bool) -> None:
    mask, expected = np.zeros((5, 7), bool), np.zeros((5, 7), bool)
    mask[2, [1, 4]], expected[2, 1:5] = True, True
    mask[4, 6] = expected[4, 6] = True
    found = _between(mask.T if turned else mask)
    np.testing.assert_array_equal(found.T if turned else found, expected)
