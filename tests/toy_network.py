"""A network whose answers are given."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float32]


class Network:
    """Answers with given maps; without them, it must not be asked.

    Attributes:
        shapes: Of the photos that it was shown.
        corrected: The view and all views that each call of ``refine`` was given.
    """

    def __init__(
        self,
        fused: Map | None = None,
        views: Sequence[Map] = (),
        opinions: Sequence[Map] = (),
        *,
        judged: bool = True,
        refined: Map | None = None,
    ) -> None:
        self._fused, self._views, self._opinions = fused, views, opinions
        self.doubt, self.judged, self._refined = 1.0, judged, refined
        self.shapes: list[tuple[int, ...]] = []
        self.corrected: list[tuple[Map, list[Map]]] = []

    def fused_map(self, image: NDArray[np.uint8]) -> Map:
        assert self._fused is not None, "no second look was asked for"
        self.shapes.append(image.shape)
        return self._fused

    def views(self, image: NDArray[np.uint8]) -> list[Map]:
        self.shapes.append(image.shape)
        return list(self._views)

    def second_view(self, image: NDArray[np.uint8]) -> Map:
        self.shapes.append(image.shape)
        return self._views[0]

    def opinions(self, image: NDArray[np.uint8]) -> list[Map]:
        self.shapes.append(image.shape)
        return list(self._opinions)

    def refine(self, image: NDArray[np.uint8], chosen: Map, views: list[Map]) -> Map | None:
        self.corrected.append((chosen, views))
        return self._refined


def disc_map(size: int = 96) -> Map:
    rows, columns = np.mgrid[:size, :size]
    distance = np.hypot(rows - size / 2 + 0.5, (columns - size / 2 + 0.5) * 4 / 3)
    return np.clip((size / 3 - distance) / 4 + 0.5, 0, 1).astype(np.float32)
