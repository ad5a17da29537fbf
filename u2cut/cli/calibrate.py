"""``u2cut calibrate``: the int8 form of a network."""

import logging
from dataclasses import dataclass, field

from u2cut import console
from u2cut.cli.options import Photos, examples, takes
from u2cut.describe import Options, option
from u2cut.errors import UsageError
from u2cut.options import WeightsOptions


@dataclass(frozen=True, slots=True)
class CalibrateOptions(Options):
    """The machine and network that the int8 network is made for."""

    size: int | None = field(
        default=None,
        metadata=option(
            "Side of the network's input in pixels.", min=32, max=4096, shown="what suits the model"
        ),
    )
    quiet: bool = field(default=False, metadata=option("Say nothing but errors.", "--quiet", "-q"))


# Mean absolute difference of the maps: more than that shows in the cutouts.
_TOLERABLE = 0.003


EXAMPLES = examples(
    "u2cut calibrate photos/",
    "u2cut remove photos/ -o cutouts/ --precision int8",
)


@takes(CalibrateOptions, WeightsOptions)
def calibrate(options: CalibrateOptions, network: WeightsOptions, *, photos: Photos = None) -> None:
    """Make the network's int8 form, for --precision int8.

    It is fitted to PHOTOS (or folders of them) of the kind that it will see: a few dozen do, at
    most 64 are used. That takes some minutes, once for each network and size; the result is kept
    in the cache.
    """
    console.configure_logging(quiet=options.quiet, verbose=not options.quiet)
    if not photos:
        raise UsageError("no photos to calibrate on: name some, or a folder of them")
    with console.protect_stdout():
        from u2cut.batch.calibrate import calibrate
        from u2cut.engines.predictor import find_weights

        found = find_weights(network, quiet=options.quiet)
        count, difference = calibrate(found.path, photos, options.size or found.input_size)
        console.logger.info(
            "%s calibrated on %d photos: use it with --precision int8", found.name, count
        )
        level = logging.WARNING if difference > _TOLERABLE else logging.INFO
        console.logger.log(level, "its maps differ from fp32 by %.4f on average", difference)
