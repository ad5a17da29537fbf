"""The whole way of a photo, by hand: python examples/cutout_by_hand.py PHOTO CUTOUT.png."""

import sys
from pathlib import Path

from u2cut.engines.base import open_engine
from u2cut.imaging.composite import cutout
from u2cut.imaging.decode import decode
from u2cut.imaging.encode import encode
from u2cut.matting import alpha_matte, foreground
from u2cut.saliency import preprocess, to_saliency
from u2cut.weights import find

photo, target = map(Path, sys.argv[1:])
frame = decode(photo.read_bytes(), max_pixels=100_000_000)
engine = open_engine(find("u2netp").path, size=320)
fused = engine.predict(preprocess(frame.image, 320)[None])[0]
saliency = to_saliency(fused)
if saliency is None:
    sys.exit("no subject found")
alpha = alpha_matte(frame.image, saliency, "fast")
pixels = cutout(foreground(frame.image, alpha), alpha)
target.write_bytes(encode(pixels, "png", icc=frame.icc, dpi=frame.dpi))
