import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from u2cut.imaging.crop import subject_box
from u2cut.notation import Margin

NONE = Margin(0, percent=False)


@given(
    st.integers(0, 30),
    st.integers(0, 30),
    st.integers(1, 30),
    st.integers(1, 30),
    st.integers(0, 50),
)
@settings(max_examples=50, deadline=None)
def test_the_box_holds_the_subject_and_its_margin(
    top: int, left: int, height: int, width: int, margin: int
) -> None:
    alpha = np.zeros((64, 64), np.float32)
    alpha[top : top + height, left : left + width] = 1
    box = subject_box(alpha, Margin(margin, percent=False))
    assert box == (
        slice(max(0, top - margin), min(64, top + height + margin)),
        slice(max(0, left - margin), min(64, left + width + margin)),
    )


def test_residual_alpha_and_specks_do_not_count() -> None:
    alpha = np.full((200, 200), 2 / 255, np.float32)
    alpha[50:150, 60:140] = 0.8
    alpha[3, 3] = 1  # a speck
    assert subject_box(alpha, NONE) == (slice(50, 150), slice(60, 140))


def test_a_second_subject_counts() -> None:
    alpha = np.zeros((100, 100), np.float32)
    alpha[10:60, 10:60] = 1
    alpha[80:90, 85:95] = 1
    assert subject_box(alpha, NONE) == (slice(10, 90), slice(10, 95))


def test_a_margin_in_percent_is_of_the_longer_side() -> None:
    alpha = np.zeros((300, 300), np.float32)
    alpha[100:200, 120:170] = 1
    assert subject_box(alpha, Margin(10, percent=True)) == (slice(90, 210), slice(110, 180))


@pytest.mark.parametrize("residue", [0.0, 0.02])
def test_without_a_subject_there_is_no_box(residue: float) -> None:
    assert subject_box(np.full((10, 10), residue, np.float32), NONE) is None
