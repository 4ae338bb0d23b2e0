"""Weights that are the same but for a touch, by their sketches. ``pytest tests/unit/gate/test_near_weights.py``"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.checkpoint_files import flip_byte, write_ours
from tinyworlds_gate.gate.near_weights import Sketch, _is_near, _numbers, _singular_norms, are_same, sketch_of

RNG = np.random.default_rng(5)
LARGE, SMALL = RNG.normal(size=(40, 30)).astype(np.float32), RNG.normal(size=(4, 3, 5)).astype(np.float32)


def sketch(**tensors: np.ndarray) -> Sketch:
    return {name: _numbers(tensor) for name, tensor in tensors.items()}


def test_a_sketch_has_the_size_the_norm_the_sums_and_the_norms_of_singular_values() -> None:
    numbers = _numbers(np.array([[3.0, 0.0], [0.0, 4.0]], np.float32))
    assert (len(numbers), numbers[0], numbers[1]) == (12, 4, 5.0)
    assert [abs(one) for one in numbers[2:10]] == [3.0, 0.0, 0.0, 4.0, 0.0, 0.0, 0.0, 0.0]
    assert numbers[10:] == pytest.approx([337 ** (1 / 4), 4825 ** (1 / 6)], rel=1e-7)
    assert numbers[10] != 337 ** (1 / 4), "eight digits are kept"


def test_the_sums_have_signs_of_both_kinds_and_every_eighth_element() -> None:
    ones = _numbers(np.ones(800, np.float32))[2:10]
    assert all(abs(one) < 60 for one in ones), "a hundred ones of random signs"
    assert len(set(ones)) > 1
    single = np.zeros(800, np.float32)
    single[[5, 8 + 5]] = (1.0, 10.0)
    assert {abs(one) for one in _numbers(single)[2:10]} <= {0.0, 9.0, 11.0}
    assert sum(one != 0 for one in _numbers(single)[2:10]) == 1


@pytest.mark.parametrize("shape", [(6,), (2, 3), (3, 2), (2, 1, 3), (6, 1), ()])
def test_tensors_are_matrices_of_their_first_axis(shape: tuple[int, ...]) -> None:
    tensor = np.arange(1.0, np.prod(shape, dtype=int) + 1).reshape(shape).astype(np.float32)
    values = np.linalg.svd(tensor.reshape(len(tensor) if tensor.ndim > 1 else 1, -1), compute_uv=False)
    expected = [(values**4).sum() ** (1 / 4), (values**6).sum() ** (1 / 6)]
    assert _numbers(tensor)[10:] == pytest.approx(expected, rel=1e-6)


def test_the_norms_of_singular_values_are_those_of_a_matrix_and_of_its_transpose() -> None:
    wide = RNG.normal(size=(3, 7))
    values = np.linalg.svd(wide, compute_uv=False)
    expected = ((values**4).sum() ** (1 / 4), (values**6).sum() ** (1 / 6))
    assert _singular_norms(wide) == pytest.approx(expected)
    assert _singular_norms(wide.T) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("change", "near"),
    [
        (lambda one: one, True),
        (lambda one: one * (1 + 5e-4), True),
        (lambda one: one * (1 + 5e-3), False),
        (lambda one: one[::-1], True),
        (lambda one: one[:, ::-1], True),
        (lambda one: -one[::-1], True),
        (lambda one: one[::-1] * (1 + 4e-5), False),
        (lambda one: RNG.permuted(one.ravel()).reshape(one.shape), False),
        (lambda one: np.zeros_like(one), False),
    ],
)
def test_a_touch_and_another_order_are_the_same(change: Callable[[np.ndarray], np.ndarray], near: bool) -> None:
    one, other = _numbers(LARGE), _numbers(np.ascontiguousarray(change(LARGE)))
    assert _is_near(one, other) is near
    assert _is_near(other, one) is near


def test_without_norms_of_singular_values_another_order_is_not_recognised() -> None:
    one, other = _numbers(LARGE)[:10], _numbers(np.ascontiguousarray(LARGE[::-1]))[:10]
    assert _is_near(one, one)
    assert not _is_near(one, other)
    assert not _is_near(one, _numbers(np.ascontiguousarray(LARGE[::-1])))


def test_tensors_are_near_below_a_thousandth_of_the_larger_norm_and_by_all_their_norms() -> None:
    here, nothing = [1, 1000.0, *[0.0] * 8], [1, 0.0, *[0.0] * 8]
    for apart, near in ((0.999, True), (1.0, False)):
        other = [1, 1000.0, apart, *[0.0] * 7]
        assert _is_near(here, other) is _is_near(other, here) is near
    assert _is_near(here, [1, 1.0, 0.5, *[0.0] * 7]), "the larger norm counts"
    assert _is_near(nothing, nothing)
    reordered = [1, 1000.0, 500.0, *[0.0] * 7]
    for norms, near in (((1000.0, 900.0, 800.0), True), ((1000.1, 900.0, 800.0), False)):
        assert _is_near([*here, 900.0, 800.0], [1, norms[0], *reordered[2:], *norms[1:]]) is near
    for singular in ((900.1, 800.0), (900.0, 800.1)):
        assert not _is_near([*here, 900.0, 800.0], [*reordered, *singular])


def test_empty_tensors_are_the_same() -> None:
    zeros = _numbers(np.zeros((2, 2), np.float32))
    assert _is_near(zeros, zeros)


def test_half_of_all_weights_decide() -> None:
    far = np.ascontiguousarray(LARGE + 1)
    base = sketch(a=LARGE, b=LARGE * 2, c=SMALL)
    assert are_same(base, base)
    assert are_same(base, {**base, "c": _numbers(SMALL + 1)})
    assert not are_same(base, {**base, "a": _numbers(far), "c": _numbers(SMALL + 1)})
    assert are_same(base, {**base, "a": _numbers(far)}), "1260 of 2460 weights are near"
    even = sketch(a=LARGE, b=LARGE * 2)
    assert are_same(even, {**even, "a": _numbers(far)}), "exactly half"


def test_a_model_with_units_of_zeros_or_with_more_tensors_is_the_same() -> None:
    other = RNG.normal(size=(30, 40)).astype(np.float32)
    base = sketch(a=LARGE, b=other)
    wide = sketch(a=np.pad(LARGE, ((0, 1), (0, 0))), b=np.pad(other, ((0, 0), (0, 1))))
    for one, two in ((base, wide), (wide, base), (base, {**base, "c": _numbers(LARGE + 1)})):
        assert are_same(one, two)
    assert not are_same(base, sketch(a=np.pad(LARGE + 1, ((0, 1), (0, 0))), b=np.pad(other + 1, ((0, 0), (0, 1)))))


def test_other_names_or_other_units_are_other_weights() -> None:
    base = sketch(a=LARGE, b=SMALL)
    assert not are_same(base, sketch(c=LARGE, d=SMALL))
    assert not are_same(base, sketch(a=np.vstack([LARGE, LARGE[:1]]), b=SMALL))
    assert not are_same({}, {})
    assert not are_same(base, {})


def test_a_sketch_is_of_the_weights_with_this_hash(tmp_path: Path) -> None:
    ref = write_ours(tmp_path, "dynamics", 1)
    found = sketch_of(ref.path)
    assert found is not None
    assert list(found) == sorted(found)
    assert all(len(numbers) == 12 for numbers in found.values())
    assert sketch_of(ref.path, ref.model_sha256) == found
    assert sketch_of(ref.path, "0" * 64) is None
    assert sketch_of(tmp_path / "gone") is None
    flip_byte(ref.path / "model_state_dict.pt", 5000)
    assert sketch_of(ref.path) is None, "it is damaged"
