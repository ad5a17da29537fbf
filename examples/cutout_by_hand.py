"""The whole way of a photo, by hand: python examples/cutout_by_hand.py PHOTO CUTOUT.png."""

import sys
from pathlib import Path

from u2cut.engines.predictor import Predictor
from u2cut.imaging.composite import cutout
from u2cut.imaging.decode import decode
from u2cut.imaging.encode import encode
from u2cut.matting import alpha_matte, foreground
from u2cut.options import Matting, NetworkOptions
from u2cut.subject import find

photo, target = map(Path, sys.argv[1:])
frame = decode(photo.read_bytes(), max_pixels=100_000_000)
network = Predictor(NetworkOptions(model="u2netp"))
subject = find(frame.image, network.fused_map(frame.image), network, Matting.FAST)
if subject is None:
    sys.exit("no subject found")
alpha = alpha_matte(frame.image, subject.saliency, "fast")
pixels = cutout(foreground(frame.image, alpha), alpha)
target.write_bytes(encode(pixels, "png", icc=frame.icc, dpi=frame.dpi))
