"""``u2cut weights``: what is known, what is here, and how it gets here."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

import click

from u2cut import stdio
from u2cut.cli.options import Ordered
from u2cut.errors import WeightsError
from u2cut.stdio import printable
from u2cut.weights import bring_in, cache, find, registry

_name = click.argument("name")
_names = click.argument("names", metavar="NAME...", nargs=-1, required=True)
_as_json = click.option("--json", "as_json", is_flag=True, help="Write JSON on stdout.")


@click.group(cls=Ordered)
def weights() -> None:
    """List, fetch, check and remove the network's weights."""


@weights.command("list")
@_as_json
def list_(*, as_json: bool) -> None:
    """List the weights that u2cut knows, and which are here."""
    with stdio.protect_stdout() as stdout:
        stdio.configure_logging()
        specs = [registry.spec(name) for name in registry.names()]
        if as_json:
            _write_json(
                stdout, [{**asdict(s), "state": _state(s), "path": _shown(s)} for s in specs]
            )
            return
        for s in specs:
            size = f"{s.size / 1e6:.1f} MB" if s.size else ""
            line = f"{s.name:<16} {_state(s):<8} {size:>9}  {s.licence}  {s.description}"
            _write_line(stdout, line)


@weights.command()
@_names
@click.option("--quiet", "-q", is_flag=True, help="Show no progress.")
@_as_json
def download(names: tuple[str, ...], *, quiet: bool, as_json: bool) -> None:
    """Fetch weights into the cache; print where they are."""

    def fetch(name: str) -> tuple[dict[str, str], str]:
        path = os.fspath(find(name, quiet=quiet).path)
        return {"name": name, "path": path}, path

    _each(names, fetch, as_json=as_json, quiet=quiet)


@weights.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@_as_json
def verify(names: tuple[str, ...], *, as_json: bool) -> None:
    """Hash weights in full and compare; without a name, all that are here."""
    here = [
        n for n in registry.names() if n == registry.BUNDLED or cache.is_cached(registry.spec(n))
    ]

    def check(name: str) -> tuple[dict[str, str], str]:
        spec = registry.spec(name)
        path = _present(spec)
        if name == registry.BUNDLED:
            fault, remedy = cache.mismatch(spec, path), "install u2cut again"
        else:
            fault = cache.fault(spec, full=True)
            remedy = f"take it away with: u2cut weights remove {name}"
        if fault is not None:
            raise WeightsError(f"{printable(path)} is damaged: {fault}; {remedy}")
        return {"name": name, "path": os.fspath(path), "sha256": spec.sha256}, f"{name} ok"

    _each(names or here, check, as_json=as_json)


@weights.command()
@_name
@_as_json
def path(name: str, *, as_json: bool) -> None:
    """Print where weights are; an error if they aren't here."""
    with stdio.protect_stdout() as stdout:
        stdio.configure_logging()
        _write_place(stdout, name, _present(registry.spec(name)), as_json=as_json)


@weights.command()
@_names
@_as_json
def remove(names: tuple[str, ...], *, as_json: bool) -> None:
    """Delete weights, and what is left of broken downloads, from the cache."""

    def delete(name: str) -> tuple[dict[str, object], str]:
        if name == registry.BUNDLED:
            raise WeightsError(f"{name} ships with u2cut and can't be removed")
        removed = [os.fspath(path) for path in cache.remove(registry.spec(name))]
        return {"name": name, "removed": removed}, "\n".join(removed) or f"{name} was not here"

    _each(names, delete, as_json=as_json)


@weights.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", metavar="NAME", help="What it must be.")
@_as_json
def import_(file: Path, *, name: str | None, as_json: bool) -> None:
    """Copy a file that was fetched by hand into the cache, recognised by its SHA-256."""
    with stdio.protect_stdout() as stdout:
        stdio.configure_logging()
        brought = bring_in(file, name)
        _write_place(stdout, brought.name, brought.path, as_json=as_json)


def _each(
    names: Sequence[str],
    act: Callable[[str], tuple[object, str]],
    *,
    as_json: bool,
    quiet: bool = False,
) -> None:
    """Act on every name; write what came of it on stdout, and fail at the end if any failed."""
    failures = []
    entries: list[object] = []
    with stdio.protect_stdout() as stdout:
        stdio.configure_logging(quiet=quiet, verbose=not quiet)
        for name in names:
            try:
                entry, line = act(name)
            except WeightsError as e:
                failures.append(str(e))
                entries.append({"name": name, "error": str(e)})
                continue
            entries.append(entry)
            if not as_json:
                _write_line(stdout, line)
        if as_json:
            _write_json(stdout, entries)
    if failures:
        raise WeightsError("\n".join(failures))


def _state(spec: registry.WeightSpec) -> str:
    if spec.name == registry.BUNDLED:
        return "bundled"
    if not cache.is_cached(spec):
        return "absent"
    try:
        return "here" if cache.fault(spec) is None else "damaged"
    except WeightsError:
        return "refused"


def _present(spec: registry.WeightSpec) -> Path:
    if spec.name == registry.BUNDLED:
        return registry.bundled_path()
    if not cache.is_cached(spec):
        raise WeightsError(
            f"{spec.name} is not in {printable(cache.folder())}; to fetch it: "
            f"u2cut weights download {spec.name}"
        )
    return cache.path_of(spec)


def _shown(spec: registry.WeightSpec) -> str | None:
    if spec.name != registry.BUNDLED and not cache.is_cached(spec):
        return None
    return os.fspath(_present(spec))


def _write_place(stdout: BinaryIO, name: str, path: Path, *, as_json: bool) -> None:
    if as_json:
        _write_json(stdout, {"name": name, "path": os.fspath(path)})
    else:
        _write_line(stdout, os.fspath(path))


def _write_line(stdout: BinaryIO, line: str) -> None:
    stdout.write(os.fsencode(line) + b"\n")


def _write_json(stdout: BinaryIO, value: object) -> None:
    stdout.write(json.dumps(value, indent=2).encode() + b"\n")
