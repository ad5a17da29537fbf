"""The colours that a file declares without an ICC profile, brought into the form of one.

A file may say in which colours it is by an ICC profile, by code points of ITU-T H.273 (cICP in
PNG, nclx in AVIF and HEIC), by gAMA and cHRM (PNG), or by EXIF (Adobe RGB, as cameras write it).
The order is that of the PNG specification, third edition, 4.3: cICP, iCCP, sRGB, gAMA with cHRM.
What isn't sRGB becomes a small matrix profile (ICC.1:2022, 8.3.3), so that the numbers stay and
every reader, LittleCMS first, knows what they mean.
"""

import io
import struct
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from u2cut.errors import InputError

Curve = Callable[[NDArray[np.float64]], NDArray[np.float64]]


class Primaries(NamedTuple):
    """Chromaticities (x, y) of red, green, blue and white."""

    red: tuple[float, float]
    green: tuple[float, float]
    blue: tuple[float, float]
    white: tuple[float, float]


_D65: Final = (0.3127, 0.3290)
_SRGB: Final = Primaries((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), _D65)
_ADOBE_RGB: Final = _SRGB._replace(green=(0.21, 0.71))
# ITU-T H.273 (07/2024), table 2; 1 is sRGB's, 2 unspecified.
_PRIMARIES: Final = {
    1: _SRGB,
    4: Primaries((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), (0.310, 0.316)),
    5: Primaries((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), _D65),
    6: Primaries((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    7: Primaries((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    9: Primaries((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),
    11: Primaries((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    12: Primaries((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),
}
_ADOBE_GAMMA: Final = 563 / 256
_UNSPECIFIED: Final = 2
_HDR: Final = {16: "PQ", 18: "HLG"}
# Table 3. Programs show video's curves (1, 6, 14, 15) as sRGB's in still pictures.
_LIKE_SRGB: Final = (1, 6, 13, 14, 15)
_GAMMAS: Final = {4: 2.2, 5: 2.8, 8: 1.0}


def _srgb_curve(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def convert(
    pixels: NDArray[np.uint8], source: bytes | None, target: bytes | None
) -> NDArray[np.uint8]:
    """Convert RGB pixels from one profile to another by LittleCMS; None is sRGB.

    Args:
        pixels: (H, W, 3) uint8.
        source: ICC profile of an RGB space.
        target: Likewise.

    Returns:
        (H, W, 3) uint8; the same array where both are one. A profile that LittleCMS doesn't take
        counts as sRGB.
    """
    if source == target:
        return pixels
    try:
        converted = ImageCms.profileToProfile(
            Image.fromarray(pixels),
            _opened(source),
            _opened(target),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return pixels
    assert converted is not None  # inPlace=False
    return np.asarray(converted, np.uint8)


def _opened(profile: bytes | None) -> ImageCms.ImageCmsProfile:
    if profile is None:
        return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    return ImageCms.ImageCmsProfile(io.BytesIO(profile))


def from_code_points(primaries: int, transfer: int) -> bytes | None:
    """Return the profile that code points of ITU-T H.273 mean; None for sRGB.

    Raises:
        InputError: The picture is HDR (PQ or HLG).
    """
    if transfer in _HDR:
        raise InputError(
            f"an HDR photo ({_HDR[transfer]}), which 8 bits can't hold: export it as SDR"
        )
    colours = _PRIMARIES.get(primaries, _SRGB)
    if transfer in _LIKE_SRGB or transfer not in _GAMMAS:
        return None if colours is _SRGB else matrix_profile(colours, _srgb_curve)
    return from_gamma(_GAMMAS[transfer], colours)


def from_gamma(gamma: float, primaries: Primaries = _SRGB) -> bytes:
    """Return the profile of a pure power curve."""
    return matrix_profile(primaries, lambda values: values**gamma)


def adobe_rgb() -> bytes:
    """Return a profile for what EXIF calls R03 (DCF 2.0, optional colour space)."""
    return from_gamma(_ADOBE_GAMMA, _ADOBE_RGB)


def from_png(
    gamma: float | None, chromaticities: tuple[float, ...] | None, *, srgb: bool
) -> bytes | None:
    """Return the profile that PNG's sRGB, gAMA and cHRM mean; None for sRGB.

    Args:
        gamma: Of gAMA, the file's own: 1 / 2.2 for most.
        chromaticities: Of cHRM: white, red, green and blue, x and y each.
        srgb: Whether there is an sRGB chunk, which overrides both.
    """
    if srgb or not gamma or not 0.1 <= gamma <= 10:
        return None
    primaries = _SRGB
    if chromaticities is not None and len(chromaticities) == 8:
        white, red, green, blue = (
            (chromaticities[k], chromaticities[k + 1]) for k in range(0, 8, 2)
        )
        primaries = Primaries(red, green, blue, white)
    near = np.abs(np.array(primaries) - np.array(_SRGB)).max() < 2e-3
    if near and abs(gamma - 1 / 2.2) < 0.01:
        return None
    try:
        return from_gamma(1 / gamma, _SRGB if near else primaries)
    except (np.linalg.LinAlgError, ZeroDivisionError, ValueError, struct.error):
        return None  # no colours have such chromaticities


def matrix_profile(primaries: Primaries, curve: Curve) -> bytes:
    """Write a matrix and curve profile of an RGB space, version 2.4.

    Args:
        primaries: Of the space; its white is adapted to D50 by Bradford's matrix.
        curve: Encoded to linear values, both in [0, 1].
    """
    columns = _to_d50(primaries)
    table = np.rint(np.clip(curve(np.linspace(0, 1, 1024)), 0, 1) * 65535).astype(">u2")
    trc = b"curv" + bytes(4) + struct.pack(">I", len(table)) + table.tobytes()
    name = b"u2cut RGB\0"
    described = b"desc" + bytes(4) + struct.pack(">I", len(name)) + name + bytes(78)
    tags = {
        b"desc": described,
        b"cprt": b"text" + bytes(4) + b"no copyright\0",
        b"wtpt": _xyz(np.array([0.9642, 1.0, 0.8249])),
        b"rXYZ": _xyz(columns[:, 0]),
        b"gXYZ": _xyz(columns[:, 1]),
        b"bXYZ": _xyz(columns[:, 2]),
        b"rTRC": trc,
        b"gTRC": trc,
        b"bTRC": trc,
    }
    directory, body, places = b"", b"", dict[bytes, int]()
    start = 128 + 4 + 12 * len(tags)
    for tag, data in tags.items():
        if data not in places:  # the three curves are one
            places[data] = start + len(body)
            body += data + bytes(-len(data) % 4)
        directory += tag + struct.pack(">II", places[data], len(data))
    header = struct.pack(
        ">I4sI4s4s4s12s4s4sI4s4sQI3i4s44s",
        start + len(body), b"\0\0\0\0", 0x02400000, b"mntr", b"RGB ", b"XYZ ",
        struct.pack(">6H", 2026, 1, 1, 0, 0, 0), b"acsp", b"\0\0\0\0", 0, b"\0\0\0\0",
        b"\0\0\0\0", 0, 1, 0xF6D6, 0x10000, 0xD32D, b"\0\0\0\0", bytes(44),
    )  # fmt: skip
    return header + struct.pack(">I", len(tags)) + directory + body


def _xyz(values: NDArray[np.float64]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(float(v) * 65536) for v in values))


def _to_d50(primaries: Primaries) -> NDArray[np.float64]:
    """Return the matrix from linear RGB to XYZ under D50, (3, 3)."""
    corners = np.array([_whole(p) for p in primaries[:3]]).T
    white = _whole(primaries.white)
    to_xyz = corners * np.linalg.solve(corners, white)
    bradford = np.array(
        [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
    )
    d50 = np.array([0.9642, 1.0, 0.8249])
    scale = np.diag((bradford @ d50) / (bradford @ white))
    adapted: NDArray[np.float64] = np.linalg.inv(bradford) @ scale @ bradford @ to_xyz
    return adapted


def _whole(chromaticity: tuple[float, float]) -> NDArray[np.float64]:
    """XYZ of a chromaticity, Y = 1."""
    x, y = chromaticity
    return np.array([x / y, 1.0, (1 - x - y) / y])
