"""Weights in the form that other programs run, checked against torch before they are kept."""

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from u2cut.engines.torch_engine import FusedNetwork
from u2cut.errors import MissingDependencyError, OutputError
from u2cut.export.formats import ExportFormat
from u2cut.weights import read_metadata
from u2cut.weights.load import load_network

Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]

# (B, H, W); the second shows that the batch and the size are free, odd ones too.
_CHECKED_SHAPES = ((1, 160, 160), (2, 64, 67))
_TOLERANCE = 1e-4


def export(weights: Path, target: Path, format: ExportFormat) -> float:
    """Write a network for other programs.

    ONNX and OpenVINO: one input "photo", (B, 3, H, W) normalised RGB; one output "map",
    (B, 1, H, W) probabilities; B, H and W are free. Safetensors: the official tensors.

    Args:
        weights: A weight file.
        target: Where it goes; OpenVINO puts a ``.bin`` beside the ``.xml``.
        format: What is written.

    Returns:
        The largest difference from torch on the map.

    Raises:
        DeviceError: A package that the format needs isn't installed.
        OutputError: The file can't be written, or what was written disagrees with torch.
        WeightsError: The weights are neither of the two networks.
    """
    write = _WRITERS[format]
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".export-") as folder:
            run = write(weights, Path(folder) / target.name)
            difference = _largest_difference(run, FusedNetwork(load_network(weights)))
            if not difference <= _TOLERANCE:  # NaN too
                raise OutputError(
                    f"not written, because as {format} the network differs from torch by "
                    f"{difference:.2g}",
                    path=target,
                    remedy="please report this",
                )
            del run  # Windows replaces no file that a runtime holds open
            for file in sorted(Path(folder).iterdir()):  # .bin before .xml
                os.replace(file, target.with_name(file.name))  # noqa: PTH105
    except OSError as e:
        raise OutputError.from_os(e, target) from e
    except ImportError as e:
        raise MissingDependencyError(f"the export as {format}", format.value) from e
    return difference


def _largest_difference(run: Run, network: FusedNetwork) -> float:
    random = np.random.default_rng(0)
    worst = 0.0
    for batch, height, width in _CHECKED_SHAPES:
        photos = random.normal(size=(batch, 3, height, width)).astype(np.float32)
        with torch.inference_mode():
            expected = network(torch.from_numpy(photos)).numpy()
        # Not max(): it drops a NaN.
        worst = float(np.maximum(worst, np.abs(run(photos)[:, 0] - expected).max()))
    return worst


def _write_onnx(weights: Path, file: Path) -> Run:
    import onnxruntime

    from u2cut.export.onnx_graph import onnx_model

    file.write_bytes(onnx_model(FusedNetwork(load_network(weights))).SerializeToString())
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return lambda photos: np.asarray(session.run(None, {"photo": photos})[0], np.float32)


def _write_openvino(weights: Path, file: Path) -> Run:
    import openvino as ov

    from u2cut.export.openvino_graph import openvino_model

    model = openvino_model(FusedNetwork(load_network(weights)))
    ov.save_model(model, file, compress_to_fp16=False)
    compiled = ov.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda photos: np.asarray(compiled(photos)[0], np.float32)


def _write_safetensors(weights: Path, file: Path) -> Run:
    from safetensors.torch import save

    state = {k: v.contiguous() for k, v in load_network(weights).state_dict().items()}
    file.write_bytes(save(state, metadata=read_metadata(weights) or None))
    network = load_network(file)

    def run(photos: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return np.asarray(network(torch.from_numpy(photos))[0].sigmoid(), np.float32)

    return run


_WRITERS: Mapping[ExportFormat, Callable[[Path, Path], Run]] = {
    ExportFormat.ONNX: _write_onnx,
    ExportFormat.OPENVINO: _write_openvino,
    ExportFormat.SAFETENSORS: _write_safetensors,
}
