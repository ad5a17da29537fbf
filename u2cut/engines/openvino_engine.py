"""The OpenVINO engine: the fastest on the CPU, and free of torch once the network is compiled."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from u2cut.console import logger
from u2cut.cores import available_cores, computes_in_bf16, told_cores
from u2cut.engines import compiled
from u2cut.engines.openvino_import import openvino as ov
from u2cut.errors import DeviceError, OutputError

# Without the hint OpenVINO takes bf16 for "fp32" wherever the CPU has it. An int8 network's
# unquantised layers are fp32.
_PRECISION_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}


class OpenVINOEngine:
    """Runs the network with OpenVINO on the CPU; see `engines.base.Engine`.

    Args:
        path: A weight file.
        precision: "auto" (bf16 where the CPU computes in it, else fp32), "fp32", "bf16" or "int8".
        size: Side of the square inputs; no other size runs.
        channels: Of the inputs.

    Raises:
        DeviceError: This CPU lacks the precision, or int8 was never calibrated (`calibrate`).
        WeightsError: The file holds neither of the two networks.
    """

    name = "openvino"
    device = "cpu"
    batch_size = at_once = 1  # more don't help on a CPU
    any_size = False

    def __init__(self, path: Path, *, precision: str, size: int, channels: int = 3) -> None:
        core = ov.Core()
        self.precision = _resolve_precision(precision, core)
        settings = _settings(self.precision)
        place = _entry(path, self.precision, size)
        kept = compiled.read(place)
        network = None if kept is None else _imported(core, kept, settings)
        if network is None:
            if self.precision == "int8":
                raise DeviceError(
                    f"int8 needs a calibration for these weights at size {size} first, once: "
                    "u2cut calibrate PHOTOS..."
                )
            logger.info("compiling the network for OpenVINO, once")
            graph = _graph(path, size, self.precision, channels)
            network = core.compile_model(graph, "CPU", settings)
            _keep(network, place)
        self._kept = kept  # the network reads from it
        self._request = network.create_infer_request()

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the fused maps of a batch: (B, C, S, S) to (B, S, S) in [0, 1]."""
        maps = np.empty((len(batch), *batch.shape[2:]), np.float32)
        for i, photo in enumerate(batch):
            self._request.infer(photo[None], share_inputs=True)
            maps[i] = self._request.get_output_tensor().data[0, 0]
        return maps


def calibrate(path: Path, photos: Iterable[NDArray[np.float32]], *, size: int) -> None:
    """Quantise a network to int8 and keep it in the cache, where ``precision="int8"`` finds it.

    Args:
        path: A weight file.
        photos: Network inputs, (3, S, S), of photos such as the network will see: some dozens.
        size: S.

    Raises:
        DeviceError: NNCF isn't installed.
        OutputError: The cache can't be written to.
        WeightsError: The file holds neither of the two networks.
    """
    from u2cut.engines.int8 import quantise

    core = ov.Core()
    model = quantise(_graph(path, size, "int8"), photos)
    place = _entry(path, "int8", size)
    compiled.write(place, _blob(core.compile_model(model, "CPU", _settings("int8"))))


def _resolve_precision(precision: str, core: ov.Core) -> str:
    if precision == "auto":
        return "bf16" if computes_in_bf16() else "fp32"
    if precision == "fp16":
        raise DeviceError("fp16 needs a GPU: use --precision fp32 or bf16 on the CPU")
    if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise DeviceError("this CPU can't compute in bf16: use --precision fp32")
    return precision


def _settings(precision: str) -> dict[str, str]:
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": _PRECISION_HINTS[precision],
    }
    if told_cores() is not None:  # else it finds them out by itself
        settings["INFERENCE_NUM_THREADS"] = str(available_cores())
    return settings


def _entry(path: Path, precision: str, size: int) -> Path:
    version = ov.__version__.partition("-")[0]
    form = "" if precision == "fp32" else "-levelled"
    return compiled.entry(path, size=size, precision=precision, version=f"openvino{version}{form}")


def _imported(
    core: ov.Core, kept: compiled.Compiled, settings: dict[str, str]
) -> ov.CompiledModel | None:
    blob = np.frombuffer(kept.body, np.uint8)
    try:
        network = core.import_model(ov.Tensor(blob, blob.shape), "CPU", settings)
    except RuntimeError as e:  # another build of the same version, say
        logger.info("OpenVINO refuses what it compiled before: %s", e)
        return None
    kept.forget()  # it has made its own, rearranged copy of the weights
    return network


def _graph(path: Path, size: int, precision: str, channels: int = 3) -> ov.Model:
    # torch reads the weights: the only time that it is needed.
    from u2cut.engines.levelled import level, levelled
    from u2cut.engines.torch_engine import FusedNetwork
    from u2cut.export.openvino_graph import add_rim, openvino_model
    from u2cut.weights.load import load_network

    network = FusedNetwork(load_network(path, channels=channels))
    if precision != "fp32":
        level(network.network)
    model = openvino_model(network)
    model.reshape([1, channels, size, size])
    for name, layer in levelled(network.network):
        add_rim(model, name, layer.edges, width=layer.dilation[0])
    return model


def _keep(network: ov.CompiledModel, place: Path) -> None:
    try:
        compiled.write(place, _blob(network))
    except OutputError as e:
        logger.warning("%s; until then every start compiles the network again", e)


def _blob(network: ov.CompiledModel) -> bytes:
    blob: bytes = network.export_model().getvalue()
    return blob
