"""``u2cut bench``: where the time goes on this machine."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from u2cut import console
from u2cut.cli.options import Json, Photos, Verbose, examples, takes
from u2cut.errors import InputError
from u2cut.options import NetworkOptions

if TYPE_CHECKING:
    from u2cut.batch.bench import Benchmark


EXAMPLES = examples("u2cut bench", "u2cut bench my-photos/*.jpg --device cpu")


@takes(NetworkOptions)
def bench(
    network: NetworkOptions,
    *,
    photos: Photos = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Measure where a photo's time goes.

    PHOTOS are some like yours; without them, one is made up. Times decoding, the network, matting
    and encoding one after the other, and then the settings that could be chosen instead. In a
    run with many photos the stages overlap.
    """
    console.configure_logging(verbose=verbose)
    with console.protect_stdout() as stdout:
        from u2cut.batch import bench as b

        data = [(str(path), _read(path)) for path in photos or []]
        with console.progress(b.steps(network), unit="setting") as bar:
            found = b.measure(data or [("", b.example_photo())], network, bar)
        stdout.write((_as_json(found) if as_json else _table(found)).encode() + b"\n")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as e:
        raise InputError.from_os(e, path, "can't be read") from e


def _as_json(found: "Benchmark") -> str:
    from dataclasses import asdict

    return json.dumps(asdict(found) | {"advice": found.advice()}, indent=2)


def _table(found: "Benchmark") -> str:
    lines = [
        f"{found.photos} photo(s), {found.megapixels:.1f} megapixels; engine {found.engine}",
        "",
        f"{'stage':<10}{'seconds':>9}{'share':>8}",
    ]
    for stage, seconds in found.stages.items():
        lines.append(f"{stage:<10}{seconds:>9.3f}{seconds / found.seconds:>8.0%}")
    lines += [f"{'together':<10}{found.seconds:>9.3f}", "", "settings, and what their stage costs"]
    for a in found.alternatives:
        size = f"  {a.size / 1e6:.1f} MB" if a.size else ""
        ratio = found.stages[a.stage] / a.seconds
        lines.append(f"  {a.setting:<34}{a.seconds:>9.3f}{ratio:>7.1f} ×{size}")
    advice = found.advice() or ["the settings are the fastest already"]
    return "\n".join([*lines, "", "what would help", *(f"  {line}" for line in advice)])
