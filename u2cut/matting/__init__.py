"""From a saliency map to an alpha matte and clean colours: arrays in, arrays out."""

from u2cut.matting.alpha import Method, alpha_matte
from u2cut.matting.clean import clean, erode, feather, largest
from u2cut.matting.foreground import foreground
from u2cut.matting.trimap import trimap
from u2cut.matting.zoom import refine_by_zoom

__all__ = [
    "Method",
    "alpha_matte",
    "clean",
    "erode",
    "feather",
    "foreground",
    "largest",
    "refine_by_zoom",
    "trimap",
]
