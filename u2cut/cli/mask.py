"""``u2cut mask``: photos in, masks, mattes, saliency maps or trimaps out."""

from u2cut.cli.batch import Inputs, run_batch
from u2cut.cli.options import examples, takes
from u2cut.options import (
    BatchOptions,
    CanvasOptions,
    EdgeOptions,
    InputOptions,
    MaskOptions,
    NetworkOptions,
    OutputOptions,
    RenderOptions,
    RunOptions,
)

EXAMPLES = examples(
    "u2cut mask photo.jpg -o mask.png",
    "u2cut mask --alpha photos/ -o mattes/",
    "u2cut mask --saliency photo.jpg -o - | display",
)


@takes(
    InputOptions,
    OutputOptions,
    MaskOptions,
    CanvasOptions,
    EdgeOptions,
    NetworkOptions,
    RunOptions,
)
def mask(
    input_: InputOptions,
    output: OutputOptions,
    kind: MaskOptions,
    canvas: CanvasOptions,
    edge: EdgeOptions,
    network: NetworkOptions,
    run: RunOptions,
    *,
    inputs: Inputs = None,
) -> None:
    """Write masks: where the subject is.

    Writes grey pictures of the photo's size, hard at 0.5; or the alpha matte, the network's
    saliency map, or the trimap.
    """
    render = RenderOptions(kind.product, kind.invert, edge=edge, canvas=canvas)
    options = BatchOptions(tuple(inputs or ()), input_, output, render, network, run)
    run_batch(options, label="mask")
