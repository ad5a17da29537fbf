"""``u2cut info``: what u2cut finds on this machine."""

import importlib.metadata
import importlib.util
import json
import platform
import sys

from u2cut import console
from u2cut.cli.options import Json, examples
from u2cut.cores import available_cores
from u2cut.version import __version__

_LIBRARIES = ("torch", "openvino", "nncf", "opencv-python-headless", "pillow", "numpy")
_EXTRAS = {
    "heic": "pillow_heif",
    "int8": "nncf",
    "onnx": "onnx",
    "openvino": "openvino",
    "train": "matplotlib",
    "tensorboard": "tensorboard",
}


EXAMPLES = examples("u2cut info", "u2cut info --json")


def info(*, as_json: Json = False) -> None:
    """Show what u2cut finds on this machine.

    Versions, devices, engines, extras, the cache, and the weights that are here.
    """
    with console.protect_stdout() as stdout:
        facts = _facts()
        text = json.dumps(facts, indent=2) if as_json else _table(facts)
        stdout.write(text.encode() + b"\n")


def _facts() -> dict[str, object]:
    import torch

    from u2cut.weights import cache, registry

    cuda = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "u2cut": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": available_cores(),
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "devices": {"cpu": True, "cuda": cuda, "mps": torch.backends.mps.is_available()},
        "engines": {"torch": True, "openvino": _installed("openvino")},
        "extras": {extra: _installed(module) for extra, module in _EXTRAS.items()},
        "cache": str(cache.folder()),
        "weights": {
            name: name in registry.BUNDLED or bool(cache.present(registry.spec(name)))
            for name in registry.names()
        },
        "executable": sys.executable,
    }


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _table(facts: dict[str, object]) -> str:
    lines = []
    for name, value in facts.items():
        if isinstance(value, dict):
            shown = ", ".join(f"{k} {_word(v)}" for k, v in value.items())
        else:
            shown = str(value)
        lines.append(f"{name:<11} {shown}")
    return "\n".join(lines)


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "not installed" if value is None else str(value)
