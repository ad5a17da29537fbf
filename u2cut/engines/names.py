"""What may be asked of an engine. Nothing heavy is imported here."""

import re
from enum import StrEnum
from typing import Final

from u2cut.errors import UsageError
from u2cut.stdio import printable

_DEVICE: Final = re.compile(r"auto|cpu|mps|cuda(:(\d+|all))?")


class EngineName(StrEnum):
    """What runs the network."""

    AUTO = "auto"
    TORCH = "torch"
    OPENVINO = "openvino"


class Precision(StrEnum):
    """What the network computes in."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"
    INT8 = "int8"


def check_device(name: str) -> None:
    """Refuse what names no device.

    Raises:
        UsageError: It is none of auto, cpu, cuda, cuda:N, cuda:all and mps.
    """
    if not _DEVICE.fullmatch(name):
        raise UsageError(
            f"unknown device {printable(name)!r}: use auto, cpu, cuda, cuda:N, cuda:all or mps"
        )
