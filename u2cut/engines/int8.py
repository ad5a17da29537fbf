"""Post-training quantisation to int8 with NNCF."""

import io
import logging
import sys
from collections.abc import Iterable
from contextlib import redirect_stdout

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from u2cut.errors import MissingDependencyError

# The first layer sees 256 shades at most, and the last ones turn small differences into the map:
# together a few hundredths of the time.
_KEPT_IN_FP32 = ["stage1.rebnconvin", *(f"side{k}" for k in range(1, 7))]


def quantise(model: ov.Model, photos: Iterable[NDArray[np.float32]]) -> ov.Model:
    """Return the network in int8, but for the first layer, the side outputs and the fusion.

    Symmetric weights, asymmetric activations: NNCF's mixed preset.

    Args:
        model: With static shape.
        photos: Network inputs, (3, S, S), that show the activations' ranges.

    Raises:
        MissingDependencyError: NNCF isn't installed.
    """
    # NNCF would report its use to a server; without this module it stays silent.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        import nncf
    except ImportError as e:
        raise MissingDependencyError("the calibration of int8", "int8") from e
    nncf.set_log_level(logging.WARNING)
    batches = [photo[None] for photo in photos]
    # It draws its bars whether somebody looks or not.
    with redirect_stdout(io.StringIO()):
        return nncf.quantize(
            model,
            nncf.Dataset(batches),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(batches),
            ignored_scope=nncf.IgnoredScope(names=_KEPT_IN_FP32),
            # NNCF's bias correction makes the maps seven times worse here (measured on `u2netp`).
            advanced_parameters=nncf.AdvancedQuantizationParameters(disable_bias_correction=True),
        )
