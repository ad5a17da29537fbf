import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from u2cut.matting import clean, erode, feather, largest

Array = NDArray[np.float32]


def square(size: int = 60, margin: int = 15) -> Array:
    alpha = np.zeros((size, size), np.float32)
    alpha[margin:-margin, margin:-margin] = 1
    return alpha


def test_clean_removes_a_speck_with_its_soft_rim() -> None:
    alpha = square()
    dirty = alpha.copy()
    dirty[4, 4] = 1
    dirty[4, 5] = 0.05
    assert np.array_equal(clean(dirty), alpha)


def test_clean_fills_a_hole_but_no_gap_at_the_border() -> None:
    alpha = np.ones((60, 60), np.float32)
    alpha[30:32, 30:32] = 0
    alpha[0, 20:23] = 0
    result = clean(alpha)
    assert (result[30:32, 30:32] == 1).all()
    assert (result[0, 20:23] == 0).all()


def test_clean_keeps_a_second_subject_and_a_large_hole() -> None:
    alpha = square()
    alpha[25:33, 25:33] = 0
    alpha[2:10, 2:10] = 1
    assert np.array_equal(clean(alpha), alpha)


def test_a_smaller_share_spares_more() -> None:
    alpha = square()
    alpha[2:4, 2:4] = 1
    assert clean(alpha, share=0.001)[3, 3] == 1
    assert clean(alpha, share=0.1)[3, 3] == 0


def test_largest_keeps_the_main_subject_with_its_soft_edge() -> None:
    alpha = square()
    alpha[14, 20:40] = 0.05
    alone = alpha.copy()
    alpha[2:8, 2:8] = 1
    assert np.array_equal(largest(alpha), alone)


def test_erode_moves_the_edge_by_its_pixels() -> None:
    assert np.array_equal(erode(square(60, 15), 3)[30], square(60, 18)[30])


def test_erode_leaves_a_subject_that_touches_the_border_there() -> None:
    alpha = np.ones((20, 20), np.float32)
    assert (erode(alpha, 4) == 1).all()


def test_feather_is_half_on_the_edge_and_gone_two_widths_away() -> None:
    alpha = np.zeros((20, 80), np.float32)
    alpha[:, 40:] = 1
    row = feather(alpha, 6)[10]
    assert (row[39] + row[40]) / 2 == pytest.approx(0.5, abs=1e-3)
    assert row[40 - 12] < 1e-3
    assert row[40 + 12] > 1 - 1e-3


@pytest.mark.parametrize("value", [0, 1])
def test_an_even_matte_stays_as_it_is(value: int) -> None:
    alpha = np.full((9, 7), value, np.float32)
    for result in clean(alpha), largest(alpha), feather(alpha, 2), erode(alpha, 2):
        assert np.allclose(result, alpha, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 24), st.integers(1, 24), st.integers(0, 2**32 - 1))
def test_any_matte_stays_in_range_and_cleaning_never_invents_shades(
    height: int, width: int, seed: int
) -> None:
    alpha = np.random.default_rng(seed).random((height, width), np.float32)
    for result in clean(alpha), largest(alpha):
        assert np.isin(result[result != alpha], (0, 1)).all()
    for result in feather(alpha, 1.5), erode(alpha, 1):
        assert result.min() >= 0
        assert result.max() <= 1
