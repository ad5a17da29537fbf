import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from u2cut.matting import refine_by_zoom
from u2cut.matting.zoom import subject_boxes

Photo = NDArray[np.uint8]
Map = NDArray[np.float32]

SIZE = 64


def bright_look(photo: Photo) -> Map:
    """See whatever is bright, at 64×64, as the network would: coarsely."""
    seen = cv2.resize(photo, (SIZE, SIZE), interpolation=cv2.INTER_AREA)[..., 0]
    return np.asarray(cv2.GaussianBlur(seen.astype(np.float32) / 255, (0, 0), 1.5))


def landscape(*centres: tuple[int, int], radius: int = 45) -> Photo:
    photo = np.zeros((600, 900, 3), np.uint8)
    for x, y in centres:
        cv2.circle(photo, (x, y), radius, (255, 255, 255), -1)
    return photo


def error(saliency: Map, photo: Photo) -> float:
    truth = photo[..., 0].astype(np.float32) / 255
    grown = cv2.resize(saliency, (truth.shape[1], truth.shape[0]))
    return float(np.abs(grown - truth).mean())


@pytest.mark.parametrize("centres", [[(300, 200)], [(150, 150), (700, 450)], [(890, 590)]])
def test_small_subjects_come_out_finer(centres: list[tuple[int, int]]) -> None:
    photo = landscape(*centres)
    first = bright_look(photo)
    merged = refine_by_zoom(photo, first, bright_look)
    assert error(merged, photo) < 0.5 * error(first, photo)


def test_each_subject_gets_its_own_look() -> None:
    photo = landscape((150, 150), (700, 450))
    boxes = subject_boxes(bright_look(photo), (600, 900))
    assert len(boxes) == 2
    for (top, left, bottom, right), (x, y) in zip(
        sorted(boxes), [(150, 150), (700, 450)], strict=True
    ):
        assert top < y - 45 < y + 45 < bottom
        assert left < x - 45 < x + 45 < right


def test_boxes_that_overlap_are_looked_at_as_one() -> None:
    photo = landscape((300, 300), (420, 300))
    assert len(subject_boxes(bright_look(photo), (600, 900))) == 1


def test_a_large_subject_needs_no_second_look() -> None:
    photo = landscape((450, 300), radius=250)
    first = bright_look(photo)

    def never(_: Photo) -> Map:
        raise AssertionError("prediction again")

    assert refine_by_zoom(photo, first, never) is first


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_second_look_that_disagrees_does_not_count(value: float) -> None:
    photo = landscape((300, 200))
    first = bright_look(photo)
    broken = np.full((SIZE, SIZE), value, np.float32)
    broken[:10] = 1 - value
    assert refine_by_zoom(photo, first, lambda _: broken) is first


def test_what_the_first_look_ruled_out_stays_out() -> None:
    photo = landscape((300, 200))
    first = bright_look(photo)

    def also_the_corner(crop: Photo) -> Map:
        seen = bright_look(crop)
        seen[:8, :8] = 1
        return seen

    assert error(refine_by_zoom(photo, first, also_the_corner), photo) < 0.5 * error(first, photo)


def test_a_photo_that_is_hardly_larger_than_the_map_is_not_looked_at_again() -> None:
    saliency = np.zeros((320, 320), np.float32)
    saliency[140:180, 140:180] = 1
    looks: list[tuple[int, ...]] = []

    def look(part: np.ndarray) -> np.ndarray:
        looks.append(part.shape)
        return np.ones((320, 320), np.float32)

    assert refine_by_zoom(np.zeros((300, 400, 3), np.uint8), saliency, look) is saliency
    assert not looks
    refine_by_zoom(np.zeros((600, 800, 3), np.uint8), saliency, look)
    assert looks


def test_a_second_look_loses_no_part_that_the_first_was_sure_of() -> None:
    """Of an ant the enlarged look shows the body, and not the legs."""
    photo = landscape((300, 200), radius=60)
    cv2.rectangle(photo, (360, 190), (420, 210), (255, 255, 255), -1)
    first = np.asarray(cv2.resize(photo[..., 0] / np.float32(255), (320, 320)), np.float32)

    def without_legs(part: Photo) -> Map:
        body = cv2.erode(part, np.ones((25, 25), np.uint8))
        return bright_look(np.asarray(cv2.dilate(body, np.ones((25, 25), np.uint8)), np.uint8))

    photo = cv2.resize(photo, (2700, 1800), interpolation=cv2.INTER_NEAREST)
    kept = refine_by_zoom(photo, first, bright_look)
    assert kept is not first
    assert refine_by_zoom(photo, first, lambda part: without_legs(part[::3, ::3])) is first
