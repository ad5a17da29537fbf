import numpy as np
import pytest
import torch
from PIL import Image

from tests.pictures import EXAMPLES, disc_photo
from u2cut import saliency
from u2cut.model import U2NETP, U2Net


def published(network: U2Net, photo: np.ndarray) -> np.ndarray:
    """The published pipeline, written from its description: squash, normalise, min-max, resize.

    The downscale is scikit-image's: a Gaussian of (f - 1) / 2 before bilinear samples.
    """
    from scipy.ndimage import gaussian_filter, zoom

    image = photo / 255.0
    factors = [photo.shape[0] / 320, photo.shape[1] / 320]
    sigma = [max(0, (f - 1) / 2) for f in factors]
    image = gaussian_filter(image, (*sigma, 0), mode="mirror")
    image = zoom(image, (1 / factors[0], 1 / factors[1], 1), order=1, mode="mirror", grid_mode=True)
    image = image / image.max()
    image = (image - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    with torch.inference_mode():
        x = torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32))
        d0 = torch.sigmoid(network(x)[0])[0, 0].numpy()
    d0 = (d0 - d0.min()) / (d0.max() - d0.min())
    full = Image.fromarray((d0 * 255).astype(np.uint8))
    return np.asarray(full.resize((photo.shape[1], photo.shape[0]), Image.Resampling.BILINEAR))


def ours(network: U2Net, photo: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        x = torch.from_numpy(saliency.preprocess(photo, 320)[None])
        fused = torch.sigmoid(network(x)[0])[0, 0].numpy()
    grown = saliency.upsample(saliency.normalise(fused), photo.shape[:2])
    return np.rint(grown * 255)


@pytest.fixture(scope="module")
def network() -> U2Net:
    torch.manual_seed(5)
    return U2Net(U2NETP).eval()


@pytest.mark.parametrize(
    ("name", "size", "tolerance"),
    [("cat.jpg", (320, 320), 0.5), ("coffee.jpg", None, 3.0), ("astronaut.jpg", None, 3.0)],
)
def test_maps_agree_with_the_published_pipeline(
    network: U2Net, name: str, size: tuple[int, int] | None, tolerance: float
) -> None:
    with Image.open(EXAMPLES / name) as image:
        photo = np.asarray(image.resize(size) if size else image)
    difference = np.abs(ours(network, photo) - published(network, photo))
    assert difference.mean() <= tolerance


@pytest.mark.parametrize("shape", [(1, 1), (3, 5000), (5000, 3), (320, 320), (31, 640)])
def test_any_shape_is_squashed_to_the_networks_size(shape: tuple[int, int]) -> None:
    photo = np.random.default_rng(0).integers(0, 255, (*shape, 3), np.uint8)
    prepared = saliency.preprocess(photo, 64)
    assert prepared.shape == (3, 64, 64)
    assert prepared.dtype == np.float32
    assert np.isfinite(prepared).all()
    assert saliency.shrink(photo, 64).mean() == pytest.approx(photo.mean(), rel=0.1, abs=8)


def test_a_black_photo_is_no_division_by_zero() -> None:
    prepared = saliency.preprocess(np.zeros((50, 70, 3), np.uint8), 32)
    assert prepared[0] == pytest.approx(-0.485 / 0.229)


def test_fine_stripes_average_out_instead_of_aliasing() -> None:
    stripes = np.zeros((2000, 2000, 3), np.uint8)
    stripes[:, ::2] = 255
    small = saliency.shrink(stripes, 160)
    assert np.abs(small[4:-4, 4:-4] - 127.5).max() < 4


def test_a_faint_map_means_no_subject() -> None:
    faint = np.random.default_rng(0).uniform(0, 0.25, (32, 32)).astype(np.float32)
    assert saliency.to_saliency(faint) is None
    faint[10:20, 10:20] = 0.9
    restored = saliency.to_saliency(faint)
    assert restored is not None
    assert restored.min() == 0
    assert restored.max() == 1


def test_a_flat_map_is_not_stretched_to_noise() -> None:
    assert not saliency.normalise(np.full((8, 8), 0.7, np.float32)).any()


def test_a_photo_of_the_networks_own_size_is_only_normalised() -> None:
    photo = disc_photo(64, 64)
    expected = (photo / photo.max() - saliency.MEAN) / saliency.STD
    assert saliency.preprocess(photo, 64).transpose(1, 2, 0) == pytest.approx(expected, abs=1e-5)


def test_the_surest_view_is_the_one_that_another_network_confirms() -> None:
    whole = np.zeros((40, 40), np.float32)
    whole[10:30, 5:35] = 1
    vague, half = 0.02 + 0.95 * whole, whole.copy()
    half[:, 20:] = 0  # the least uncertain
    other = whole - half
    assert saliency.surest([vague, half], whole) is vague
    assert saliency.surest([vague, half], half) is half
    assert saliency.surest([vague, half], None) is half  # it sees no subject
    assert saliency.surest([half, other], other) is other  # both as sure
    assert saliency.surest([half, other], other[::2, ::2].copy()) is other  # whatever its size
    vaguer = 0.3 + 0.4 * whole
    assert saliency.surest([vaguer, half], whole) is half  # too vague to follow
