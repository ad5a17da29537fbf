"""OpenVINO, imported without its converter of other frameworks' models: a third of the time."""

import sys
from typing import Any

_CONVERTER = "openvino.tools.ovc"  # OpenVINO takes it along only if it can be imported


def _import() -> Any:
    if "openvino" in sys.modules:
        import openvino

        return openvino
    sys.modules[_CONVERTER] = None  # type: ignore[assignment]
    try:
        import openvino
    finally:
        del sys.modules[_CONVERTER]
    openvino.convert_model = _convert_model
    return openvino


def _convert_model(*arguments: Any, **options: Any) -> Any:
    """Stand in for ``openvino.convert_model``, for whoever shares the process with u2cut."""
    from openvino.tools.ovc import convert_model

    return convert_model(*arguments, **options)


openvino = _import()
