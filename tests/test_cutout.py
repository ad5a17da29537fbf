"""Pictures made of a photo and a fused map, without a network."""

from collections.abc import Sequence

import cv2
import numpy as np
import pytest

from tests.pictures import disc_photo
from u2cut import saliency as maps
from u2cut.cutout import Cutout
from u2cut.errors import UsageError
from u2cut.imaging.colour import _PRIMARIES, from_gamma
from u2cut.imaging.decode import Frame
from u2cut.options import CutoutOptions, EdgeOptions, Matting, Product, RenderOptions

PLAIN = EdgeOptions(matting=Matting.NONE)


class Network:
    """Answers with given maps; without them, it must not be asked."""

    def __init__(
        self,
        fused: np.ndarray | None = None,
        views: Sequence[np.ndarray] = (),
        opinions: Sequence[np.ndarray] = (),
        *,
        judged: bool = True,
    ) -> None:
        self._fused, self._views, self._opinions = fused, views, opinions
        self.doubt, self.judged = 1.0, judged
        self.shapes: list[tuple[int, ...]] = []

    def fused_map(self, image: np.ndarray) -> np.ndarray:
        assert self._fused is not None, "no second look was asked for"
        self.shapes.append(image.shape)
        return self._fused

    def views(self, image: np.ndarray) -> list[np.ndarray]:
        self.shapes.append(image.shape)
        return list(self._views)

    def second_view(self, image: np.ndarray) -> np.ndarray:
        self.shapes.append(image.shape)
        return self._views[0]

    def opinions(self, image: np.ndarray) -> list[np.ndarray]:
        self.shapes.append(image.shape)
        return list(self._opinions)


def disc_map(size: int = 96) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size]
    distance = np.hypot(rows - size / 2 + 0.5, (columns - size / 2 + 0.5) * 4 / 3)
    return np.clip((size / 3 - distance) / 4 + 0.5, 0, 1).astype(np.float32)


def cutout_of(
    fused: np.ndarray | None = None, frame: Frame | None = None, **options: object
) -> Cutout:
    return Cutout(
        frame or Frame(disc_photo()),
        disc_map() if fused is None else fused,
        RenderOptions(**({"edge": PLAIN} | options)),
        Network(),
    )


def _vague() -> np.ndarray:
    vague = 0.25 + 0.5 * disc_map()
    vague[0, 0] = 0
    vague[48, 48] = 1
    return vague


def best_of(first: np.ndarray, network: Network) -> Cutout:
    best = EdgeOptions(matting=Matting.BEST, zoom=False)
    return Cutout(Frame(disc_photo()), first, RenderOptions(edge=best), network)


def test_best_takes_the_least_uncertain_view() -> None:
    vague, sure = _vague(), disc_map(64)
    network = Network(views=(0.2 * sure, vague, sure), opinions=(sure,))
    cutout = best_of(vague, network)
    assert np.array_equal(cutout._map, maps.normalise(sure))
    assert network.shapes == [disc_photo().shape] * 2
    alone = best_of(vague, Network(opinions=(sure,)))
    assert np.array_equal(alone._map, maps.normalise(vague))


def test_best_takes_the_view_that_another_network_confirms() -> None:
    left, right = disc_map(64), disc_map(64)
    left[:, 32:], right[:, :32] = 0, 0
    for opinion in (left, right):
        network = Network(views=(right,), opinions=(opinion, 0.2 * left))
        cutout = best_of(left, network)
        assert np.array_equal(cutout._map, maps.normalise(opinion))
        # Half of the opinions: it is there, half: there is no subject.
        assert cutout.confidence == maps.confidence(opinion, opinions=[opinion, None])
        network = Network(views=(right,), opinions=(opinion,), judged=False)
        other = left if opinion is right else right
        expected = maps.confidence(opinion, [other])
        assert best_of(left, network).confidence == expected
    asked = best_of(left, Network(views=(0.1 + 0.8 * right,), judged=False))  # nobody
    assert np.array_equal(asked._map, maps.normalise(left))
    assert asked.confidence == maps.confidence(left, [maps.normalise(0.1 + 0.8 * right)])
    nobody = best_of(left, Network(views=(right,), opinions=(0.2 * left,)))
    assert np.array_equal(nobody._map, maps.normalise(left))
    assert nobody.confidence < 0.3


_FILLING = disc_map()[16:80, 16:80]
_SMALL = disc_map(64) * (np.hypot(*(np.mgrid[:64, :64] - 31.5)) < 12)


@pytest.mark.parametrize(
    ("first", "second", "asked", "taken"),
    [
        pytest.param(_vague(), _FILLING, True, True, id="surer, and fills the frame"),
        pytest.param(_vague(), _SMALL, True, False, id="surer, of something small"),
        pytest.param(_vague(), 0.2 * disc_map(64), True, False, id="no subject"),
        pytest.param(disc_map(), None, False, False, id="the first is sure"),
        pytest.param(_vague(), 0.5 * _vague() + 0.3, True, False, id="less sure"),
    ],
)
def test_fast_takes_a_second_view_where_the_first_is_unsure(
    first: np.ndarray, second: np.ndarray | None, asked: bool, taken: bool
) -> None:
    fast = EdgeOptions(matting=Matting.FAST)
    network = Network(views=() if second is None else (second,))
    cutout = Cutout(Frame(disc_photo()), first, RenderOptions(edge=fast), network)
    chosen = second if taken and second is not None else first
    assert cutout._map is not None
    assert np.array_equal(cutout._map, maps.normalise(chosen))
    assert network.shapes == [disc_photo().shape] * asked
    assert cutout.confidence == maps.confidence(cutout._map)


def test_without_matting_the_first_view_stays() -> None:
    network = Network(views=(disc_map(64),))
    cutout = Cutout(Frame(disc_photo()), _vague(), RenderOptions(edge=PLAIN), network)
    assert np.array_equal(cutout._map, maps.normalise(_vague()))
    assert network.shapes == []


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


@pytest.mark.parametrize("matting", list(Matting))
def test_a_network_that_is_unsure_by_nature_is_trusted_more(matting: Matting) -> None:
    options = RenderOptions(edge=EdgeOptions(matting=matting, zoom=False))
    sure = []
    for doubt in (1.0, 0.5):
        network = Network(views=(_vague(), _vague()), opinions=(_vague(),), judged=False)
        network.doubt = doubt
        sure.append(Cutout(Frame(disc_photo()), _vague(), options, network).confidence)
    assert sure[0] < sure[1]
