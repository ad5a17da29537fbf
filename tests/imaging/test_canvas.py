import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from u2cut.errors import UsageError
from u2cut.imaging.canvas import lay_out, place
from u2cut.notation import Canvas, Position, parse_canvas, parse_position, parse_share


def alpha_of(top: int, left: int, height: int, width: int) -> np.ndarray:
    alpha = np.zeros((300, 400), np.float32)
    alpha[top : top + height, left : left + width] = 1
    return alpha


@given(
    box=st.tuples(
        st.integers(0, 99), st.integers(0, 99), st.integers(20, 200), st.integers(20, 300)
    ),
    size=st.tuples(st.integers(20, 500), st.integers(20, 500)),
    fill=st.floats(0.1, 1),
    across=st.floats(0, 1),
    down=st.floats(0, 1),
    enlarge=st.booleans(),
)
def test_the_subject_fills_its_share_inside_the_canvas(
    box, size, fill, across, down, enlarge
) -> None:
    canvas = Canvas(size[1], size[0], pixels=True)
    position = Position(across, down)
    layout = lay_out(alpha_of(*box), canvas, fill=fill, position=position, enlarge=enlarge)
    top, left, height, width = layout.box
    assert layout.size == size
    assert 0 <= top <= size[0] - height
    assert 0 <= left <= size[1] - width
    assert height <= fill * size[0] + 1
    assert width <= fill * size[1] + 1
    rows, columns = layout.window
    own = (rows.stop - rows.start, columns.stop - columns.start)
    reached = abs(height - fill * size[0]) <= 1 or abs(width - fill * size[1]) <= 1
    assert reached or (not enlarge and (height, width) == own)
    if not enlarge:
        assert height <= own[0]
        assert width <= own[1]


@pytest.mark.parametrize(
    ("canvas", "size"), [("square", (200, 200)), ("1:2", (200, 100)), ("4:1", (200, 800))]
)
def test_a_ratio_is_as_large_as_the_subject_needs(canvas: str, size: tuple[int, int]) -> None:
    layout = lay_out(
        alpha_of(10, 10, 100, 50),
        parse_canvas(canvas),
        fill=0.5,
        position=Position(),
        enlarge=False,
    )
    assert layout.size == size
    assert layout.box[2:] == (100, 50)


@pytest.mark.parametrize(
    ("position", "top", "left"),
    [("center", 50, 75), ("0%,0%", 0, 0), ("100%,100%", 100, 150), ("bottom", 75, 75)],
)
def test_the_subject_stands_where_it_should(position: str, top: int, left: int) -> None:
    layout = lay_out(
        alpha_of(0, 0, 100, 50),
        Canvas(200, 200, pixels=True),
        fill=0.75,
        position=parse_position(position),
        enlarge=False,
    )
    assert layout.box == (top, left, 100, 50)


def test_shrinking_brings_no_fringe_back() -> None:
    alpha = alpha_of(51, 51, 201, 201)
    colours = np.full((300, 400, 3), (0, 255, 0), np.uint8)  # what was cut away
    colours[51:252, 51:252] = (200, 30, 30)
    layout = lay_out(
        alpha, Canvas(64, 64, pixels=True), fill=0.9, position=Position(), enlarge=False
    )
    drawn, opacity = place(colours, alpha, layout)
    assert drawn.shape == (64, 64, 3)
    assert np.abs(drawn[opacity > 0.01].astype(int) - (200, 30, 30)).max() <= 1
    assert not opacity[0].any()
    assert opacity[32, 32] > 0.999


def test_what_is_already_of_the_size_is_copied_bit_for_bit() -> None:
    rng = np.random.default_rng(0)
    alpha = rng.random((60, 60), np.float32) * 0.9 + 0.1
    colours = rng.integers(0, 256, (60, 60, 3)).astype(np.uint8)
    canvas = Canvas(100, 100, pixels=True)
    layout = lay_out(alpha, canvas, fill=0.85, position=Position(), enlarge=False)
    drawn, opacity = place(colours, alpha, layout)
    assert (drawn[20:80, 20:80] == colours).all()
    assert (opacity[20:80, 20:80] == alpha).all()


def test_the_photos_own_size_is_a_canvas() -> None:
    alpha = alpha_of(10, 20, 30, 40)
    layout = lay_out(alpha, parse_canvas("photo"), fill=1.0, position=Position(0, 1), enlarge=False)
    assert layout.size == alpha.shape
    assert layout.window is not None
    rows, columns = layout.window
    height, width = rows.stop - rows.start, columns.stop - columns.start
    assert layout.box == (alpha.shape[0] - height, 0, height, width)


def test_without_a_subject_the_canvas_is_empty() -> None:
    nothing = np.zeros((30, 40), np.float32)
    for canvas, size in (("50x60", (60, 50)), ("square", (40, 40))):
        layout = lay_out(
            nothing, parse_canvas(canvas), fill=0.85, position=Position(), enlarge=True
        )
        assert layout.size == size
        assert not place(np.zeros((30, 40, 3), np.uint8), nothing, layout)[1].any()


@pytest.mark.parametrize("text", ["", "2000", "0x5", "2000x", "a:b", "99999x1", "4:0"])
def test_what_is_no_canvas_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="2000x2000"):
        parse_canvas(text)


@pytest.mark.parametrize("text", ["", "0", "0%", "101%", "1.5", "-1", "half"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="85%"):
        parse_share(text)


@pytest.mark.parametrize("text", ["", "left", "50", "50%", "120%,0%"])
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="center"):
        parse_position(text)
