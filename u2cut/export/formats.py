"""The forms that a network can be written in. Stdlib only: the command line reads it."""

from enum import StrEnum


class ExportFormat(StrEnum):
    """A format that a network can be written in."""

    ONNX = "onnx"
    OPENVINO = "openvino"
    SAFETENSORS = "safetensors"


ENDINGS = {
    ".onnx": ExportFormat.ONNX,
    ".xml": ExportFormat.OPENVINO,
    ".safetensors": ExportFormat.SAFETENSORS,
}
