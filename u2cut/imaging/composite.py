"""Cutouts, and compositing over a colour, an image or the blurred photo; all straight alpha."""

import cv2
import numpy as np
import numpy.typing as npt

_STRIP_PIXELS = 1 << 16  # a strip's temporaries then stay in the processor's cache


def eight_bits(unit: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Round a map in [0, 1] to 0 .. 255."""
    return np.asarray(cv2.convertScaleAbs(unit, alpha=255), np.uint8)


def cutout(
    foreground: npt.NDArray[np.uint8],
    alpha: npt.NDArray[np.float32],
    *,
    keep_hidden_colours: bool = False,
) -> npt.NDArray[np.uint8]:
    """Join foreground and alpha to (H, W, 4) uint8 RGBA, straight.

    Args:
        foreground: (H, W, 3) uint8 RGB.
        alpha: (H, W) float32 in [0, 1].
        keep_hidden_colours: Leave the colours where alpha is 0; else they are zeroed, which
            makes smaller files and hides what was cut away.
    """
    height, width = alpha.shape
    rgba = np.zeros((height, width, 4), np.uint8)
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        strip = slice(top, top + rows)
        opacity = eight_bits(alpha[strip])
        pixels = cv2.cvtColor(foreground[strip], cv2.COLOR_RGB2RGBA)
        pixels[..., 3] = opacity
        shown = np.ones_like(opacity) if keep_hidden_colours else opacity
        cv2.copyTo(pixels, shown, rgba[strip])
    return rgba


def over(
    foreground: npt.NDArray[np.uint8],
    alpha: npt.NDArray[np.float32],
    background: tuple[int, int, int] | npt.NDArray[np.uint8],
) -> npt.NDArray[np.uint8]:
    """Composite over a colour or an image: round((a F + (255 - a) B) / 255), a in 0 .. 255.

    Alpha is rounded to 8 bits first, so that the result is the same as that of laying the
    written cutout over the background.

    Args:
        foreground: (H, W, 3) uint8 RGB.
        alpha: (H, W) float32 in [0, 1].
        background: A colour, 0 to 255 each, or an image (H, W, 3) uint8 RGB.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    colours = np.broadcast_to(np.asarray(background, np.uint8), foreground.shape)
    height, width = alpha.shape
    result = np.empty_like(foreground)
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        strip = slice(top, top + rows)
        opacity = eight_bits(alpha[strip])[..., None].astype(np.uint16)
        total = foreground[strip] * opacity
        total += colours[strip] * (255 - opacity)
        total += 128
        # round(t / 255) without a division, exact for t <= 255²
        total += total >> 8
        result[strip] = total >> 8
    return result


def cover(image: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Scale an image to cover a size, and crop it around its centre (CSS ``cover``).

    Args:
        image: (h, w, 3) uint8 RGB.
        size: (height, width) of the result.
    """
    height, width = size
    h, w = image.shape[:2]
    scale = max(height / h, width / w)
    # The centred window of the source that the result shows, at least a pixel.
    rows, columns = max(1, min(h, round(height / scale))), max(1, min(w, round(width / scale)))
    top, left = (h - rows) // 2, (w - columns) // 2
    window = image[top : top + rows, left : left + columns]
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(window, (width, height), interpolation=method), np.uint8)


def blurred(
    photo: npt.NDArray[np.uint8], alpha: npt.NDArray[np.float32], sigma: float
) -> npt.NDArray[np.uint8]:
    """Blur a photo's background alone, so that the subject casts no glow around itself.

    A normalised convolution (Knutsson and Westin, CVPR 1993) with the weight 1 - alpha; a large
    sigma works on a smaller copy.

    Args:
        photo: (H, W, 3) uint8 RGB.
        alpha: (H, W) float32 in [0, 1], the subject's.
        sigma: Of the Gaussian, in pixels, > 0.

    Returns:
        (H, W, 3) uint8 RGB, a background for `over`.
    """
    height, width = alpha.shape
    factor = max(1.0, sigma / 2)  # the small copy's sigma is then at most 2
    small = (max(1, round(width / factor)), max(1, round(height / factor)))
    colours = cv2.resize(photo, small, interpolation=cv2.INTER_AREA).astype(np.float32)
    # The floor fills the subject's inside, which hardly shows, with the photo itself.
    weight = 1.001 - cv2.resize(alpha, small, interpolation=cv2.INTER_AREA)[..., None]
    deviation = sigma / factor
    numerator = cv2.GaussianBlur(colours * weight, (0, 0), deviation)
    denominator = cv2.GaussianBlur(weight, (0, 0), deviation)
    mean = cv2.convertScaleAbs(cv2.divide(numerator, cv2.merge([denominator] * 3)))
    return np.asarray(cv2.resize(mean, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
