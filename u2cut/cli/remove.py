"""``u2cut remove``: photos in, cutouts out."""

from u2cut.cli.batch import Inputs, run_batch
from u2cut.cli.options import examples, takes
from u2cut.options import (
    BatchOptions,
    CanvasOptions,
    CutoutOptions,
    EdgeOptions,
    InputOptions,
    NetworkOptions,
    OutputOptions,
    Product,
    RenderOptions,
    RunOptions,
)

EXAMPLES = examples(
    "u2cut remove photo.jpg -o cutout.png",
    "u2cut remove raw/ -o shop/ --canvas 2000x2000 --fill 85% --background white --format jpg",
    "curl -s https://example.com/a.jpg | u2cut remove - > a.png",
)


@takes(
    InputOptions,
    OutputOptions,
    CutoutOptions,
    CanvasOptions,
    EdgeOptions,
    NetworkOptions,
    RunOptions,
)
def remove(
    input_: InputOptions,
    output: OutputOptions,
    cutout: CutoutOptions,
    canvas: CanvasOptions,
    edge: EdgeOptions,
    network: NetworkOptions,
    run: RunOptions,
    *,
    inputs: Inputs = None,
) -> None:
    """Cut the subject out of photos.

    Writes PNG cutouts with a soft alpha, or puts the subject on another background.
    """
    render = RenderOptions(Product.CUTOUT, edge=edge, cutout=cutout, canvas=canvas)
    options = BatchOptions(tuple(inputs or ()), input_, output, render, network, run)
    run_batch(options, label="cutout")
