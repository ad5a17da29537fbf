"""``u2cut train``: options and a TOML file in, a run out."""

import importlib.util
import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from u2cut import console
from u2cut.cli.options import Quiet, Verbose, examples, takes
from u2cut.errors import MissingDependencyError, OutputError, UsageError
from u2cut.training.config import TrainConfig, check_data
from u2cut.training.config_file import read_config

CONFIG = "config.toml"


EXAMPLES = examples(
    "u2cut train --data my-photos/ --val-split 0.1 --model u2netp --init u2netp --out run/",
    "u2cut train --resume --out run/",
    "torchrun --nproc-per-node 4 -m u2cut train --config run/config.toml --out again/",
)


@takes(TrainConfig, as_values=True)
def train(
    options: dict[str, Any],
    *,
    context: typer.Context,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "--output", "-o", metavar="RUN", help="Folder of the run: weights, curves."
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="TOML file of options, such as another run's config.toml; what is given on the "
            "command line replaces what it says.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with --out after its last checkpoint.")
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train U²-Net, or fine-tune it on your own photos.

    Writes the weights (model.safetensors, for --weights), their card, checkpoints, metrics.jsonl,
    pictures of the progress, and config.toml, which repeats the run. The defaults are the
    published training.
    """
    console.configure_logging(quiet=quiet, verbose=verbose)
    if out is None:
        raise UsageError("say where the run goes with --out RUN")
    resolved = _config_of(out, config, resume=resume, given=_given(context, options))
    check_data(resolved)
    if resolved.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise MissingDependencyError("--tensorboard", "tensorboard")
    if os.environ.get("RANK", "0") == "0" and not resume and os.path.lexists(out / CONFIG):
        raise OutputError(
            "holds a run already", path=out, remedy="--resume goes on with it, or choose another"
        )
    with console.protect_stdout():
        from u2cut.training.loop import train as run

        run(resolved, out, resume=resume, quiet=quiet)


def _given(context: typer.Context, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that stand on the command line, not the defaults."""
    sources = {name: context.get_parameter_source(name) for name in options}
    return {
        name: options[name]
        for name, source in sources.items()
        if source is not None and source.name == "COMMANDLINE"
    }


def _config_of(
    out: Path, config: Path | None, *, resume: bool, given: dict[str, Any]
) -> TrainConfig:
    """Put together the defaults, the file and the command line; the later replace the earlier."""
    if resume and config is not None:
        raise UsageError("--resume goes by the run's own config.toml; leave out --config")
    if resume and not os.path.lexists(out / CONFIG):
        raise UsageError("no run to resume", path=out, remedy="leave out --resume to start one")
    source = out / CONFIG if resume else config
    return replace(TrainConfig(), **{**(read_config(source) if source else {}), **given})
