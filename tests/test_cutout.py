"""Pictures made of a photo and a fused map, without a network."""

import cv2
import numpy as np
import pytest

from tests.pictures import disc_photo
from tests.toy_network import Network, disc_map
from u2cut.cutout import Cutout
from u2cut.errors import UsageError
from u2cut.imaging.colour import _PRIMARIES, from_gamma
from u2cut.imaging.decode import Frame
from u2cut.options import CutoutOptions, EdgeOptions, Matting, Product, RenderOptions

PLAIN = EdgeOptions(matting=Matting.NONE)


def cutout_of(
    fused: np.ndarray | None = None, frame: Frame | None = None, **options: object
) -> Cutout:
    return Cutout(
        frame or Frame(disc_photo()),
        disc_map() if fused is None else fused,
        RenderOptions(**({"edge": PLAIN} | options)),
        Network(),
    )


def test_the_half_covered_edge_has_its_own_colour_over_any_ground() -> None:
    """(200, 100, 50) at alpha 0.5 over white is (227, 177, 152), never darker."""
    frame = Frame(np.full((8, 8, 3), (200, 100, 50), np.uint8), np.full((8, 8), 128 / 255, "f4"))
    frame.image[0, 0] = 0  # an even photo would have no subject
    fused = np.ones((8, 8), np.float32)
    fused[0, 0] = 0
    look = CutoutOptions(background=(255, 255, 255), decontaminate=False)
    pixels = cutout_of(fused, frame, cutout=look).pixels()
    assert np.abs(pixels[5, 5].astype(int) - (227, 177, 152)).max() <= 1


@pytest.mark.parametrize("product", list(Product))
def test_a_faint_map_gives_an_empty_product_of_the_right_shape(product: Product) -> None:
    faint = disc_map() * 0.2
    cutout = cutout_of(faint, product=product)
    assert not cutout.has_subject
    assert cutout.coverage == 0
    pixels = cutout.pixels()
    assert pixels.shape[:2] == (96, 128)
    # The saliency map alone is as the authors make it: stretched, whatever it shows.
    assert pixels.any() == (product is Product.SALIENCY)


def test_cropping_an_empty_result_leaves_the_whole_photo() -> None:
    from u2cut.notation import Margin

    cutout = cutout_of(
        disc_map() * 0.2, cutout=CutoutOptions(crop=True, crop_margin=Margin(5, False))
    )
    assert cutout.pixels().shape == (96, 128, 4)


def test_a_reduced_photo_gives_a_map_of_the_full_size() -> None:
    frame = Frame(disc_photo(), reduced_from=(384, 512))
    assert cutout_of(frame=frame, product=Product.SALIENCY).pixels().shape == (384, 512)


def test_the_second_look_is_taken_when_it_is_asked_for() -> None:
    network = Network(disc_map())
    photo = np.full((400, 600, 3), (90, 110, 140), np.uint8)
    photo[180:220, 280:320] = (210, 40, 30)
    fused = np.zeros((96, 96), np.float32)
    fused[43:53, 45:51] = 1
    edge = EdgeOptions(matting=Matting.NONE, zoom=True)
    alpha = Cutout(Frame(photo), fused, RenderOptions(edge=edge), network).alpha
    assert alpha.shape == (400, 600)
    assert network.shapes, "a subject of a thousandth of the photo gets a second look"
    assert all(h < 400 and w < 600 for h, w, _ in network.shapes)


def test_inverting_a_mask_leaves_the_subject_black() -> None:
    pixels = cutout_of(product=Product.MASK, invert=True).pixels()
    assert pixels[48, 64] == 0
    assert pixels[1, 1] == 255


P3 = from_gamma(2.2, _PRIMARIES[12])


def on(behind: object, photo_icc: bytes | None = None, **options: object) -> np.ndarray:
    frame = Frame(disc_photo(), icc=photo_icc)
    cutout = cutout_of(frame=frame, cutout=CutoutOptions(**options))
    return cutout.pixels(behind)[2, 2].astype(int)  # type: ignore[arg-type]


def test_a_colour_behind_a_photo_is_in_the_photos_own_space() -> None:
    """SRGB (200, 60, 60) is Display P3 (183, 72, 68)."""
    assert np.abs(on(None, P3, background=(200, 60, 60)) - (183, 72, 68)).max() <= 1
    assert on(None, None, background=(200, 60, 60)).tolist() == [200, 60, 60]
    cutout = cutout_of(frame=Frame(disc_photo(), icc=P3))
    assert np.abs(cutout.composite("#c83c3c")[2, 2].astype(int) - (183, 72, 68)).max() <= 1


def test_a_picture_behind_a_photo_is_brought_into_its_space() -> None:
    """Display P3 (200, 60, 60) is sRGB (219, 37, 49)."""
    red = Frame(np.full((8, 8, 3), (200, 60, 60), np.uint8), icc=P3)
    assert np.abs(on(red, None) - (219, 37, 49)).max() <= 1
    assert np.abs(on(red, P3) - (200, 60, 60)).max() <= 1


def test_a_cutout_that_is_cut_out_again_stays_as_it_is() -> None:
    own = (disc_map(96) > 0.5).astype(np.float32)
    own = cv2.resize(own, (128, 96), interpolation=cv2.INTER_AREA)
    frame = Frame(disc_photo(), own)
    edge = EdgeOptions(matting=Matting.FAST)
    again = cutout_of(frame=frame, edge=edge)
    assert np.array_equal(again.alpha, own)
    visible = own > 0
    assert np.array_equal(
        again.rgba[visible, :3][own[visible] < 1], frame.image[visible][own[visible] < 1]
    )
    elsewhere = np.roll(own, 60, axis=1)  # an alpha that isn't this subject's is a factor only
    assert not np.array_equal(
        cutout_of(frame=Frame(disc_photo(), elsewhere), edge=edge).alpha, elsewhere
    )


@pytest.mark.parametrize(
    "background",
    [
        (1, 2, 3, 4),
        (300, 0, 0),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 3), np.float32),
        "no colour",
        None,
    ],
    ids=str,
)
def test_what_is_no_background_is_refused(background: object) -> None:
    with pytest.raises(UsageError):
        cutout_of().composite(background)  # type: ignore[arg-type]
