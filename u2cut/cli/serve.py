"""``u2cut serve``: the HTTP service."""

import importlib.util

from u2cut import console, weights
from u2cut.cli.options import examples, takes
from u2cut.errors import MissingDependencyError
from u2cut.options import (
    CanvasOptions,
    CutoutOptions,
    EdgeOptions,
    NetworkOptions,
    OutputOptions,
    RenderOptions,
)
from u2cut.service.options import ServeOptions

EXAMPLES = examples(
    "u2cut serve",
    "u2cut serve --host 0.0.0.0 --token-file token.txt --compat removebg",
    "curl --data-binary @photo.jpg localhost:8000/v1/remove > cutout.png",
)
_NEEDED = ("fastapi", "uvicorn", "multipart", "prometheus_client")


@takes(
    ServeOptions,
    NetworkOptions,
    EdgeOptions,
    CutoutOptions,
    CanvasOptions,
    OutputOptions,
    without=("output", "overwrite", "skip_existing", "keep_ending", "background_image"),
)
def serve(
    options: ServeOptions,
    network: NetworkOptions,
    edge: EdgeOptions,
    cutout: CutoutOptions,
    canvas: CanvasOptions,
    output: OutputOptions,
) -> None:
    """Serve cutouts over HTTP, with a page for browsers.

    POST a photo to /v1/remove or /v1/mask: fields are named like the options of remove and mask,
    whose values here are the defaults. /openapi.json describes it; /healthz, /readyz and /metrics
    are for machines.
    """
    console.configure_logging(quiet=options.quiet, verbose=options.verbose)
    if not all(map(importlib.util.find_spec, _NEEDED)):
        raise MissingDependencyError("serve", "serve")
    if network.weights is not None:
        weights.local(network.weights)
    render = RenderOptions(edge=edge, cutout=cutout, canvas=canvas)
    with console.protect_stdout():
        from u2cut.service.server import serve as run

        run(options, network, render, output)
