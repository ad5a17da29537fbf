"""The difference of the subject's colours from the background's, around each pixel."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from u2cut.matting.guided import Array, apply, box_mean, products, resize, solve

_TRUST: Final = 0.1  # weight of the prior's vote beside those of the models, each at most 1
_PURITY: Final = 4  # a pixel is an example only if this sure: 0.9 counts as 0.66
_ENOUGH: Final = 0.02  # share of each side in a window below which a model loses weight
_CAUTION: Final = 14  # exponent that mutes models whose sides look alike
_SURELY: Final = 16  # as _PURITY, for the colours of a whole side
_CELLS: Final = 20  # of colour along each channel
_RARE: Final = np.float32(1e-5)  # share of a side that makes a colour known
_EPSILON: Final = 1e-5  # variance of sensor noise, (1/316)²
_SAMPLES: Final = 4  # a window's radius in samples: larger windows skip pixels


def separate(colours: Array, prior: Array, radii: tuple[int, ...]) -> Array:
    """Let local colour models vote on each pixel's alpha, the prior among them.

    Args:
        colours: RGB around zero, (h, w, 3).
        prior: The estimate so far, (h, w) in [0, 1]; where it is near to 1 or 0, the models learn
            what the sides look like.
        radii: Of the models' windows in pixels.

    Returns:
        (h, w) in [0, 1].
    """
    subject, background = prior**_PURITY, (1 - prior) ** _PURITY
    votes, weights = _TRUST * prior, np.full_like(prior, _TRUST)
    for radius in radii:
        fit, weight = discriminant(colours, subject, background, radius)
        weight = resize(weight, prior.shape)
        vote = np.clip(apply(resize(fit, prior.shape), colours), 0, 1)
        votes += weight * vote
        weights += weight
    return votes / weights


def recognise(colours: Array, prior: Array) -> Array:
    """Decide what the prior leaves open by the colours of the whole subject and background.

    Each side's colours are counted in cells, where the prior is sure (the histograms of Boykov
    and Jolly, "Interactive Graph Cuts", ICCV 2001).

    Args:
        colours: RGB around zero, (h, w, 3) in [-0.5, 0.5].
        prior: (h, w) in [0, 1].

    Returns:
        (h, w) in [0, 1].
    """
    r, g, b = ((colours[..., k] + np.float32(0.5)) * (_CELLS - 1e-3) for k in range(3))
    cells = (np.floor(r) * _CELLS + np.floor(g)) * _CELLS + np.floor(b)
    index = cells.astype(np.intp).ravel()
    subject, background = (
        _share(index, side).reshape(prior.shape)
        for side in (prior**_SURELY, (1 - prior) ** _SURELY)
    )
    vote = (subject + _RARE * prior) / (subject + background + _RARE)
    doubt = 4 * prior * (1 - prior)
    return np.asarray(prior + doubt * np.abs(2 * vote - 1) * (vote - prior), np.float32)


def _share(index: NDArray[np.intp], weight: Array) -> Array:
    """Return for each pixel the share that its cell has of all the weight, (n,)."""
    count = np.bincount(index, weight.ravel(), minlength=_CELLS**3)
    return np.asarray(count[index] / max(count.sum(), 1), np.float32)


def discriminant(
    colours: Array, subject: Array, background: Array, radius: int
) -> tuple[Array, Array]:
    """Fit Fisher's linear discriminant between the two sides in each pixel's window.

    Each side is a Gaussian in colour with the same covariance. Along the discriminant alpha goes
    from 0 at the background's mean to 1 at the subject's; the distance D² of the means
    (Mahalanobis) tells how much a pixel's colour says (Fisher, Annals of Eugenics 1936; the
    model of a window is Levin's colour line, "A Closed-Form Solution to Natural Image Matting",
    TPAMI 2008, with the examples weighted).

    Args:
        colours: RGB around zero, (h, w, 3).
        subject: How surely a pixel is the subject's, (h, w) in [0, 1].
        background: How surely it is the background's, (h, w) in [0, 1].
        radius: Of the window in pixels.

    Returns:
        Coefficients (h', w', 4) and their weight (h', w') in [0, 1], at reduced resolution.
    """
    step = max(1, radius // _SAMPLES)
    if step > 1 and min(subject.shape) > step:
        grid = np.s_[step // 2 :: step, step // 2 :: step]
        colours, subject, background = (
            np.ascontiguousarray(x[grid]) for x in (colours, subject, background)
        )
        radius = max(1, radius // step)
    mean_s, second_s, presence_s = _moments(colours, subject, radius)
    mean_b, second_b, presence_b = _moments(colours, background, radius)
    covariance = second_s - products(mean_s) + second_b - products(mean_b)
    covariance *= np.float32(0.5)
    between = mean_s - mean_b
    direction = solve(covariance, _EPSILON, between)
    distance = np.maximum((direction * between).sum(axis=-1), 0)
    fit = np.empty((*subject.shape, 4), np.float32)
    fit[..., :3] = direction / (distance + 1e-3)[..., None]
    fit[..., 3] = -(fit[..., :3] * mean_b).sum(axis=-1)
    enough = np.clip(np.minimum(presence_s, presence_b) / _ENOUGH, 0, 1)
    return fit, enough * (distance / (4 + distance)) ** _CAUTION


def _moments(colours: Array, weight: Array, radius: int) -> tuple[Array, Array, Array]:
    """Weighted mean (h, w, 3), second moments (h, w, 6) and mean weight (h, w) in windows."""
    presence = box_mean(weight, radius)
    norm = np.float32(1) / (presence + np.float32(1e-4))[..., None]
    mean = box_mean(colours * weight[..., None], radius) * norm
    second = box_mean(products(colours) * weight[..., None], radius) * norm
    return mean, second, presence
