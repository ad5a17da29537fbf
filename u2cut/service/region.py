"""The part of a photo in which a subject is looked for: remove.bg's "roi"."""

from dataclasses import dataclass

from u2cut.service.problems import Refused

Length = tuple[float, bool]  # a number, and whether it is a percentage instead of pixels


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a photo, by two of its corners.

    Attributes:
        across: The left and the right edge.
        down: The upper and the lower edge.
    """

    across: tuple[Length, Length]
    down: tuple[Length, Length]

    def of(self, height: int, width: int) -> tuple[slice, slice]:
        """Return rows and columns.

        Raises:
            Refused: The region leaves the photo, or holds no pixel of it.
        """
        return _within(self.down, height), _within(self.across, width)


def _within(edges: tuple[Length, Length], side: int) -> slice:
    first, last = (value * side / 100 if percent else value for value, percent in edges)
    if min(first, last) < 0 or max(first, last) > side:
        raise Refused(400, "roi_exceeds_bounds", "the region leaves the photo")
    first, last = sorted((round(first), round(last)))
    if first == last:
        raise Refused(400, "roi_region_empty", "the region holds nothing")
    return slice(first, last)


def scaled(
    region: tuple[slice, slice], size: tuple[int, int], smaller: tuple[int, int]
) -> tuple[slice, slice]:
    """Return the rows and columns of the same region in a smaller copy of the photo."""
    rows, columns = (
        slice(first := part.start * short // side, max(first + 1, round(part.stop * short / side)))
        for part, side, short in zip(region, size, smaller, strict=True)
    )
    return rows, columns
