"""u2cut: cut the subject out of photos with U²-Net.

>>> from u2cut import Remover
>>> remover = Remover()
>>> remover.remove("photo.jpg").save("cutout.png")
"""

from typing import TYPE_CHECKING

from u2cut.version import __version__

if TYPE_CHECKING:
    from u2cut.cutout import Cutout
    from u2cut.remover import Remover

__all__ = ["Cutout", "Remover", "__version__"]


def __getattr__(name: str) -> object:
    """Import the public classes when they are first asked for: they bring numpy and more."""
    if name == "Remover":
        from u2cut.remover import Remover

        return Remover
    if name == "Cutout":
        from u2cut.cutout import Cutout

        return Cutout
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
