"""Planning: inputs and an output become jobs; every refusal happens here, before any work.

A plan holds a few bytes an input, however many there are: the jobs themselves are spooled to
an unnamed temporary file.
"""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from u2cut.batch.inputs import Source, find_sources, has_pattern
from u2cut.errors import InputError, OutputError, UsageError, printable
from u2cut.files import STD
from u2cut.files.address import absolute, address_of, base_name, folder_of, is_web, join
from u2cut.files.remote import Existing
from u2cut.imaging.formats import READ, WRITTEN, Format, format_of
from u2cut.options import InputOptions, OutputOptions

# os.sep-free names longer than this can't be created on the usual file systems.
_NAME_BYTES = 255


@dataclass(frozen=True, slots=True)
class Job:
    """One input and its output; either may be ``STD``, the standard stream.

    Attributes:
        source: The input's path or address.
        target: The output's.
        etag: The version of a remote input that is meant; empty for whatever is there.
    """

    source: str
    target: str
    etag: str = ""

    @property
    def format(self) -> Format | None:
        """The format that the target's ending names, if any."""
        return format_of(self.target)

    @property
    def folder(self) -> str:
        """The target's folder."""
        return folder_of(self.target) or "."


class Plan:
    """The jobs of a run, in input order; iterate as often as you like."""

    def __init__(self) -> None:
        self.finished = 0  # inputs left out, for a journal calls them done
        self.unlisted = 0  # folders that couldn't be searched
        try:
            self._spool: IO[bytes] = tempfile.TemporaryFile(prefix="u2cut-plan-")
        except OSError as e:
            raise OutputError.from_os(
                e,
                None,
                "no temporary file can be made",
                remedy="set TMPDIR to a folder that has room",
            ) from e
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Job]:
        position, rest = 0, b""
        while True:
            self._spool.seek(position)  # others may read or append meanwhile
            chunk = self._spool.read(1 << 16)
            if not chunk:
                return
            position += len(chunk)
            *records, rest = (rest + chunk).split(b"\0\0")
            for record in records:
                yield Job(*map(os.fsdecode, record.split(b"\0")))

    def append(self, job: Job) -> None:
        """Add a job at the end."""
        self._spool.seek(0, os.SEEK_END)
        # An empty etag is no field: two NULs end a job.
        fields = filter(None, (job.source, job.target, job.etag))
        self._spool.write(b"\0".join(map(os.fsencode, fields)) + b"\0\0")
        self._count += 1

    def close(self) -> None:
        """Let go of the spool."""
        self._spool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def plan(
    inputs: tuple[str, ...],
    options: InputOptions,
    output: OutputOptions,
    *,
    label: str,
    is_finished: Callable[[str, str], bool] = lambda source, target: False,
    more: Iterable[Source] = (),
    pinned: bool = False,
) -> Plan:
    """Pair every input with its output.

    Args:
        inputs: Files, folders, patterns, or "-" for stdin.
        options: How inputs are found.
        output: Where results go.
        label: Goes into the names of outputs beside their inputs: ``a.LABEL.png``.
        is_finished: Tells of an input and its output that they are done: they are left out.
        more: Photos that were found elsewhere.
        pinned: Mean remote photos as they were listed, and not what replaces them later.

    Raises:
        UsageError: Options contradict each other.
        InputError: There is nothing to do, or the list can't be read.
        OutputError: An output exists, is an input, or belongs to two inputs.
    """
    if not (inputs or options.from_file or more):
        raise UsageError("no input: name photos, folders, '-' for stdin, or --from-file LIST")
    if "" in inputs:
        raise UsageError("an input's name is empty; is a variable unset?")
    _refuse_output_among_inputs(inputs, output)
    if inputs.count(STD) + (options.from_file == STD) > 1:
        raise UsageError("stdin can be read only once, but it is named twice")
    planned = Plan()
    try:
        _Planner(inputs, options, output, label, planned, is_finished, pinned).fill(more)
        if not len(planned) and not planned.finished:
            where = ", ".join(map(printable, inputs)) or printable(options.from_file)
            raise InputError(
                f"no photos found in {where}: looked for {' '.join(sorted(READ))}"
                + ("" if options.recursive else "; --recursive goes into folders inside")
            )
    except BaseException:
        planned.close()
        raise
    return planned


def _refuse_output_among_inputs(inputs: tuple[str, ...], output: OutputOptions) -> None:
    """Refuse "IN OUT", other tools' order, as far as it can be told from two inputs.

    Raises:
        UsageError: The second of two inputs isn't there, or is an empty folder.
    """
    if output.output is not None or len(inputs) != 2 or STD in inputs:
        return
    first, second = inputs
    missing = not os.path.lexists(second) and not has_pattern(second)
    empty = os.path.isdir(second) and os.path.isdir(first) and not os.listdir(second)
    if os.path.lexists(first) and (missing or empty):
        raise UsageError(
            f"{'an empty folder' if empty else 'no such file or folder'}",
            path=second,
            remedy=f"did you mean -o {printable(second)}?",
        )


def result_name(name: str, output: OutputOptions, label: str = "") -> str:
    """Return the file name of a photo's result.

    Args:
        name: The photo's file name.
        output: Its format, and whether the photo's ending stays.
        label: Goes before the ending, as ``.cutout``.
    """
    stem, ending = os.path.splitext(name)
    if output.keep_ending or (ending and ending.lower() not in READ):
        stem = name
    tail = f"{label}.{(output.format or Format.PNG).value}"
    room = _NAME_BYTES - len(tail)
    if len(os.fsencode(stem)) > room:
        stem = os.fsencode(stem)[:room].decode("utf-8", "ignore")
    return stem + tail


class _Planner:
    def __init__(
        self,
        inputs: tuple[str, ...],
        options: InputOptions,
        output: OutputOptions,
        label: str,
        planned: Plan,
        is_finished: Callable[[str, str], bool],
        pinned: bool,
    ) -> None:
        self.inputs = inputs
        self.options = options
        self.output = output
        self.label = label
        self.plan = planned
        self.is_finished = is_finished
        self.pinned = pinned
        self.folder = self._target_is_folder()
        self.targets: set[int] = set()
        self.input_files: set[tuple[int, int]] = set()
        self.existing = Existing(output.output if self.folder else None)

    def _target_is_folder(self) -> bool:
        target = self.output.output
        if target is None or target == STD:
            return False
        if not target:
            raise UsageError("the output's name is empty; is a variable unset?")
        remote = address_of(target)
        if remote and is_web(remote):
            raise OutputError("the web can't be written to", path=target)
        if target.endswith(("/", os.sep)) or os.path.isdir(target):
            return True
        named = format_of(target)
        wanted = self.output.format
        if named and wanted and named is not wanted:
            raise UsageError(
                f"the ending says {named}, --format {wanted}: leave one out", path=target
            )
        if Path(target).suffix and not named and wanted is None:
            raise UsageError(
                "can't write files of this kind",
                path=target,
                remedy=f"use {' '.join(WRITTEN)}, or --format; a folder's name ends with /",
            )
        if Path(target).suffix:
            return False
        if os.path.exists(target):
            raise OutputError(
                "exists and is no folder",
                path=target,
                remedy=f"name a folder, or a file that ends in {' '.join(WRITTEN)}",
            )
        return True

    def fill(self, more: Iterable[Source]) -> None:
        sources = find_sources(
            self.inputs,
            self.options,
            output=self.output.output,
            unlisted=self._count_unlisted,
            more=more,
        )
        for source in sources:
            self._add(source)
        if len(self.plan) == 1:
            self._refuse_missing_input()
        else:
            self._refuse_single_target()
        if self.output.overwrite:
            self._refuse_overwritten_inputs()

    def _count_unlisted(self, _: str) -> None:
        self.plan.unlisted += 1

    def _refuse_missing_input(self) -> None:
        """Of several inputs, one that is missing costs only itself; alone, it ends the run."""
        (job,) = self.plan
        if job.source != STD and not address_of(job.source) and not os.path.lexists(job.source):
            raise InputError("no such file or folder", path=job.source)

    def _refuse_single_target(self) -> None:
        target = self.output.output
        if target == STD:
            raise UsageError(f"stdout takes one picture, but there are {len(self.plan)} inputs")
        if target is not None and not self.folder:
            raise UsageError(
                f"{printable(target)} is one file, but there are {len(self.plan)} inputs: "
                "name a folder"
            )

    def _add(self, source: Source) -> None:
        job = Job(source.path, self._target_of(source), source.etag if self.pinned else "")
        if job.target != STD:
            self._refuse_shared_target(job)
            if self.is_finished(job.source, job.target):
                self.plan.finished += 1
                return
            self._refuse_existing_target(job)
        self.plan.append(job)
        if self.output.overwrite and source.path != STD and (at := _identity(source.path)):
            self.input_files.add(at)

    def _target_of(self, source: Source) -> str:
        target = self.output.output
        if target is None:
            if source.path == STD:
                return STD
            if is_web(source.path):
                raise UsageError("say where its result goes with -o", path=source.path)
            return join(
                folder_of(source.path), self._named(base_name(source.path), f".{self.label}")
            )
        if not self.folder:
            return target
        folder, name = os.path.split(source.relative)
        return join(target, folder, self._named(name, ""))

    def _named(self, name: str, label: str) -> str:
        return result_name(name, self.output, label)

    def _refuse_shared_target(self, job: Job) -> None:
        where = absolute(job.target)
        key = hash(where)
        if key not in self.targets:
            self.targets.add(key)
            return
        if not self.folder and self.output.output is not None:
            return  # one file for several inputs: refused with a better message
        for other in self.plan:
            if absolute(other.target) == where:
                if absolute(other.source) == absolute(job.source):
                    raise OutputError("named twice", path=job.source, remedy="leave one out")
                raise OutputError(
                    f"{printable(other.source)} and {printable(job.source)} would both be "
                    f"written to {printable(job.target)}",
                    remedy=self._apart(job, other),
                )

    def _apart(self, job: Job, other: Job) -> str:
        """Return how two inputs get outputs of their own."""
        if os.path.splitext(job.source)[1] != os.path.splitext(other.source)[1]:
            return "use --keep-ending, or run them into different folders"
        if address_of(job.source) or address_of(other.source):
            return "run them into different folders"
        parent = os.path.commonpath([os.path.abspath(one.source) for one in (job, other)])
        parent = os.path.relpath(parent)
        return (
            f"name the folder above both, {printable(parent)}, with --recursive, which keeps its "
            "tree, or run them into different folders"
        )

    def _refuse_existing_target(self, job: Job) -> None:
        if address_of(job.target):
            if job.target == job.source:
                raise _replaces_input(job)
            if not (self.output.overwrite or self.output.skip_existing):
                self._refuse_taken(job, taken=job.target in self.existing)
            return
        at = _identity(job.target)
        if at is None:
            return
        if at == _identity(job.source):
            raise _replaces_input(job)
        if not os.path.isfile(job.target):
            kind = "a folder" if os.path.isdir(job.target) else "a device or a pipe, and no file"
            raise OutputError(f"is {kind}", path=job.target, remedy="choose another -o")
        self._refuse_taken(job, taken=not (self.output.overwrite or self.output.skip_existing))

    @staticmethod
    def _refuse_taken(job: Job, *, taken: bool) -> None:
        if taken:
            raise OutputError(
                "exists already",
                path=job.target,
                remedy="--overwrite replaces it, "
                "--skip-existing leaves it and goes on with the others",
            )

    def _refuse_overwritten_inputs(self) -> None:
        for job in self.plan:
            at = _identity(job.target) if job.target != STD else None
            if at is not None and at in self.input_files:
                raise OutputError(
                    f"the output of {printable(job.source)} would replace another input",
                    path=job.target,
                    remedy="choose another -o",
                )


def _replaces_input(job: Job) -> OutputError:
    return OutputError(
        "the output would replace its own input", path=job.target, remedy="choose another -o"
    )


def _identity(path: str) -> tuple[int, int] | None:
    """Return what makes two paths the same file, or None if there is nothing."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino
