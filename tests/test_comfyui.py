"""The ComfyUI node, against a stub of the parts of its API that it uses."""

import asyncio
import importlib.util
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.pictures import disc_photo

ROOT = Path(__file__).parent.parent


@pytest.fixture
def node() -> Iterator[Any]:
    """The module, with ComfyUI's API in its place."""

    class Value:
        class Input:
            def __init__(self, id: str, **more: object) -> None:
                self.id, self.more = id, more

        class Output:
            def __init__(self, **more: object) -> None:
                self.more = more

    class NodeOutput(tuple[Any, ...]):
        def __new__(cls, *values: object) -> "NodeOutput":
            return super().__new__(cls, values)

    io = types.SimpleNamespace(
        ComfyNode=object,
        Schema=types.SimpleNamespace,
        Image=Value,
        Combo=Value,
        Boolean=Value,
        Mask=Value,
        NodeOutput=NodeOutput,
    )
    package, latest = types.ModuleType("comfy_api"), types.ModuleType("comfy_api.latest")
    latest.io, latest.ComfyExtension = io, object  # type: ignore[attr-defined]
    before = dict(sys.modules)
    sys.modules |= {"comfy_api": package, "comfy_api.latest": latest}
    path = ROOT / "integrations/comfyui/__init__.py"
    spec = importlib.util.spec_from_file_location("u2cut_comfyui", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    for name in ("comfy_api", "comfy_api.latest"):
        sys.modules.pop(name, None)
    sys.modules.update({k: v for k, v in before.items() if k.startswith("comfy_api")})


def test_a_batch_gives_colours_and_an_alpha_that_is_not_inverted(node: Any) -> None:
    photos = np.stack([disc_photo(), disc_photo()[:, ::-1]])
    batch = torch.from_numpy(photos.astype(np.float32) / 255)
    colours, mask = node.RemoveBackground.execute(batch, "none", "u2netp", False)
    assert colours.shape == (2, 96, 128, 3)
    assert mask.shape == (2, 96, 128)
    assert colours.dtype == mask.dtype == torch.float32
    assert mask[0, 48, 64] > 0.9
    assert mask[0, 2, 2] < 0.1
    assert (mask[0] - mask[1].flip(1)).abs().mean() < 0.02  # each photo has its own
    again = node.remover("u2netp", "none", largest=False)
    assert again is node.remover("u2netp", "none", largest=False)


def test_the_schema_names_what_execute_takes(node: Any) -> None:
    schema = node.RemoveBackground.define_schema()
    assert [i.id for i in schema.inputs] == ["image", "matting", "model", "largest"]
    assert len(schema.outputs) == 2
    assert asyncio.run(asyncio.run(node.comfy_entrypoint()).get_node_list()) == [
        node.RemoveBackground
    ]
