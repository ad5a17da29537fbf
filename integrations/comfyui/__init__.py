"""u2cut for ComfyUI: put this folder into custom_nodes; u2cut must be installed in its Python.

An image batch (B, H, W, 3) float in [0, 1] comes in. Out go the cutouts' colours, without the
background's in the edge, and MASK: the alpha as it is, 1 for the subject, which is not inverted.
"""

import numpy as np
import torch
from comfy_api.latest import ComfyExtension, io

from u2cut import Remover

_REMOVERS: dict[tuple[object, ...], Remover] = {}


def remover(model: str, matting: str, *, largest: bool) -> Remover:
    """Return the remover for these options; the last one is kept, with its network."""
    key = (model, matting, largest)
    if key not in _REMOVERS:
        _REMOVERS.clear()
        _REMOVERS[key] = Remover(model, matting=matting, largest=largest)
    return _REMOVERS[key]


class RemoveBackground(io.ComfyNode):
    """Cut the subject out of each image of a batch."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe inputs and outputs."""
        return io.Schema(
            node_id="u2cutRemoveBackground",
            display_name="Remove Background (u2cut)",
            category="image/masking",
            description="Cut the subject out with U²-Net, with a soft alpha.",
            inputs=[
                io.Image.Input("image"),
                io.Combo.Input("matting", options=["fast", "best", "none"], default="fast"),
                io.Combo.Input(
                    "model", options=["auto", "u2net", "lite", "u2netp"], default="auto"
                ),
                io.Boolean.Input("largest", default=False, tooltip="Keep the main subject only."),
            ],
            outputs=[io.Image.Output(display_name="image"), io.Mask.Output(display_name="mask")],
        )

    @classmethod
    def execute(cls, image: torch.Tensor, matting: str, model: str, largest: bool) -> io.NodeOutput:
        """Return colours (B, H, W, 3) and alpha (B, H, W), both float32 in [0, 1]."""
        photos = (image.detach().cpu().clamp(0, 1) * 255).round().to(torch.uint8).numpy()
        colours, alphas = [], []
        for cutout in remover(model, matting, largest=largest).remove_many(iter(photos)):
            colours.append(torch.from_numpy(cutout.foreground.astype(np.float32) / 255))
            alphas.append(torch.from_numpy(cutout.alpha))
        return io.NodeOutput(torch.stack(colours), torch.stack(alphas))


class U2cutExtension(ComfyExtension):
    """The nodes of this folder."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Return them."""
        return [RemoveBackground]


async def comfy_entrypoint() -> ComfyExtension:
    """Return the extension, as ComfyUI asks for it."""
    return U2cutExtension()
