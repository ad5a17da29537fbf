"""Which map is taken, and how sure of it u2cut is, with a network whose answers are given."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.pictures import disc_photo
from tests.toy_network import Network, disc_map
from u2cut import saliency as maps
from u2cut.options import Matting
from u2cut.subject import Subject, find

Map = NDArray[np.float32]


_FILLING = disc_map()[16:80, 16:80]
_SMALL = disc_map(64) * (np.hypot(*(np.mgrid[:64, :64] - 31.5)) < 12)


def vague() -> Map:
    map_ = 0.25 + 0.5 * disc_map()
    map_[0, 0], map_[48, 48] = 0, 1
    return map_


def found(first: Map, network: Network, method: Matting) -> Subject:
    subject = find(disc_photo(), first, network, method)
    assert subject is not None
    return subject


def best_of(first: Map, network: Network) -> Subject:
    return found(first, network, Matting.BEST)


@pytest.mark.parametrize("method", list(Matting))
def test_a_faint_map_shows_no_subject_and_nobody_is_asked(method: Matting) -> None:
    network = Network(views=(disc_map(),), opinions=(disc_map(),), refined=disc_map())
    assert find(disc_photo(), 0.2 * disc_map(), network, method) is None
    assert not network.shapes
    assert not network.corrected


def test_without_matting_the_first_view_stays() -> None:
    network = Network(views=(disc_map(64),), refined=disc_map())
    subject = found(vague(), network, Matting.NONE)
    assert np.array_equal(subject.saliency, maps.normalise(vague()))
    assert not network.shapes
    assert not network.corrected


def test_best_takes_the_least_uncertain_view() -> None:
    sure = disc_map(64)
    network = Network(views=(0.2 * sure, vague(), sure), opinions=(sure,))
    assert np.array_equal(best_of(vague(), network).saliency, maps.normalise(sure))
    assert network.shapes == [disc_photo().shape] * 2
    alone = best_of(vague(), Network(opinions=(sure,)))
    assert np.array_equal(alone.saliency, maps.normalise(vague()))


def test_best_takes_the_view_that_another_network_confirms() -> None:
    left, right = disc_map(64), disc_map(64)
    left[:, 32:], right[:, :32] = 0, 0
    for opinion in (left, right):
        network = Network(views=(right,), opinions=(opinion, 0.2 * left))
        subject = best_of(left, network)
        assert np.array_equal(subject.saliency, maps.normalise(opinion))
        other = left if opinion is right else right
        assert subject.confidence == maps.confidence(opinion, [other])
    asked = best_of(left, Network(views=(0.1 + 0.8 * right,), judged=False))  # nobody
    assert np.array_equal(asked.saliency, maps.normalise(left))
    assert asked.confidence == maps.confidence(left, [maps.normalise(0.1 + 0.8 * right)])
    nobody = best_of(left, Network(views=(right,), opinions=(0.2 * left,)))
    assert np.array_equal(nobody.saliency, maps.normalise(left))


def test_best_has_the_view_corrected_that_it_took() -> None:
    sure, refined = disc_map(64), 0.9 * disc_map(32)
    network = Network(views=(sure, 0.2 * sure), opinions=(sure,), refined=refined)
    subject = best_of(vague(), network)
    assert np.array_equal(subject.saliency, maps.normalise(refined))
    assert subject.confidence == maps.corrected_confidence(subject.saliency, [sure])
    ((chosen, views),) = network.corrected
    assert np.array_equal(chosen, maps.normalise(sure))
    assert [view.shape for view in views] == [(96, 96), (64, 64)]  # not that without a subject


@pytest.mark.parametrize(("size", "stays"), [(12, True), (40, False)])
def test_a_small_part_that_every_view_is_sure_of_stays(size: int, stays: bool) -> None:
    sure = disc_map()
    refined, part = sure.copy(), np.s_[48 : 48 + size, 48 : 48 + size]
    refined[part] = 0.1
    kept = found(sure, Network(refined=refined), Matting.FAST).saliency[part] > 0.5
    assert kept.all() if stays else not kept[5:, 5:].any()
    unsure = sure.copy()
    unsure[part] = 0.8
    other = best_of(sure, Network(views=(unsure,), refined=refined))
    assert not (other.saliency[part] > 0.5).any()


def test_only_a_stronger_networks_opinion_tells_how_good_the_corrected_map_is() -> None:
    sure, half = disc_map(), disc_map()
    half[:, 48:] = 0
    told = [
        best_of(sure, Network(opinions=opinions, refined=sure, judged=judged)).confidence
        for opinions, judged in (((sure,), True), ((sure, half), True), ((half,), False))
    ]
    assert told[0] == maps.corrected_confidence(sure, [sure])
    assert told[1] == maps.corrected_confidence(sure, [sure, half]) < told[0] - 0.1
    assert told[2] == maps.corrected_confidence(sure)
    assert maps.corrected_confidence(vague()) < told[2] - 0.1


def test_fast_has_the_first_view_corrected() -> None:
    refined = 0.9 * disc_map(32)
    network = Network(refined=refined)
    subject = found(disc_map(), network, Matting.FAST)
    assert np.array_equal(subject.saliency, maps.normalise(refined))
    assert subject.confidence == maps.corrected_confidence(subject.saliency)
    ((chosen, views),) = network.corrected
    assert np.array_equal(chosen, maps.normalise(disc_map()))
    assert views == [chosen]
    assert network.shapes == []  # no other view


@pytest.mark.parametrize("method", [Matting.FAST, Matting.BEST])
def test_a_subject_that_the_refiner_takes_away_stays(method: Matting) -> None:
    network = Network(opinions=(disc_map(),), refined=0.2 * disc_map())
    subject = found(disc_map(), network, method)
    assert np.array_equal(subject.saliency, maps.normalise(disc_map()))


def test_fast_has_two_views_corrected_where_the_first_is_unsure() -> None:
    for second, taken in ((_FILLING, True), (_SMALL, False)):
        network = Network(views=(second,), refined=0.9 * disc_map())
        found(vague(), network, Matting.FAST)
        ((chosen, views),) = network.corrected
        assert [view.shape for view in views] == [(96, 96), second.shape]
        assert np.array_equal(chosen, views[taken])


@pytest.mark.parametrize(
    ("first", "second", "asked", "taken"),
    [
        pytest.param(vague(), _FILLING, True, True, id="surer, and fills the frame"),
        pytest.param(vague(), _SMALL, True, False, id="surer, of something small"),
        pytest.param(vague(), 0.2 * disc_map(64), True, False, id="no subject"),
        pytest.param(disc_map(), None, False, False, id="the first is sure"),
        pytest.param(vague(), 0.5 * vague() + 0.3, True, False, id="less sure"),
    ],
)
def test_fast_takes_a_second_view_where_the_first_is_unsure_and_nothing_corrects_it(
    first: Map, second: Map | None, asked: bool, taken: bool
) -> None:
    network = Network(views=() if second is None else (second,))
    subject = found(first, network, Matting.FAST)
    chosen = second if taken and second is not None else first
    assert np.array_equal(subject.saliency, maps.normalise(chosen))
    assert network.shapes == [disc_photo().shape] * asked
    assert subject.confidence == maps.confidence(subject.saliency)


@pytest.mark.parametrize("method", list(Matting))
def test_a_network_that_is_unsure_by_nature_is_trusted_more(method: Matting) -> None:
    sure = []
    for doubt in (1.0, 0.5):
        network = Network(views=(vague(), vague()), opinions=(vague(),), judged=False)
        network.doubt = doubt
        sure.append(found(vague(), network, method).confidence)
    assert sure[0] < sure[1]
