"""A job of many shards: what is to be done, and what was done, as files in one folder.

    job.json                the options, u2cut's version, the weights' SHA-256; written last
    shards/000000.jsonl.gz  inputs (remote ones with their etags) and outputs, about a thousand
    part/000000.jsonl.gz    the shard's journal so far, now and then
    done/000000.jsonl.gz    the shard's journal; written when all of the shard is done

The folder may be an object store's. There is no other state: a shard without a journal is done
again, by whoever comes.
"""

import gzip
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import Enum
from itertools import islice
from pathlib import Path
from typing import Any, Final, Self

from u2cut.batch.journal import Line, header
from u2cut.batch.plan import Job, Plan
from u2cut.errors import InputError, OutputError, UsageError
from u2cut.files.address import address_of, join
from u2cut.files.read import read
from u2cut.files.remote import Existing
from u2cut.files.sink import Sink
from u2cut.options import (
    BatchOptions,
    CanvasOptions,
    CutoutOptions,
    EdgeOptions,
    InputOptions,
    NetworkOptions,
    OutputOptions,
    RenderOptions,
    RunOptions,
)
from u2cut.version import __version__

_DESCRIPTION: Final = "job.json"
# What decides a result, by the names in the description.
_GROUPS: Final = {
    "input": InputOptions,
    "output": OutputOptions,
    "cutout": CutoutOptions,
    "canvas": CanvasOptions,
    "edge": EdgeOptions,
    "network": NetworkOptions,
}


@dataclass(frozen=True, slots=True)
class Description:
    """A job as its folder describes it.

    Attributes:
        version: Of u2cut; another one makes other results.
        weights: The weights' SHA-256.
        photos: How many there are.
        shards: Likewise.
        folder: The folder that relative names start from.
        options: Values by class and field, as the command line gave them.
    """

    version: str
    weights: str
    photos: int
    shards: int
    folder: str
    options: dict[str, dict[str, Any]]

    def batch_options(self, run: RunOptions | None = None) -> BatchOptions:
        """Return the options of a run that does some of the job."""
        made: dict[str, Any] = {
            name: kind(**self.options.get(name, {})) for name, kind in _GROUPS.items()
        }
        render = RenderOptions(edge=made["edge"], cutout=made["cutout"], canvas=made["canvas"])
        return BatchOptions(
            (), made["input"], made["output"], render, made["network"], run or RunOptions()
        )


def plain(values: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return options' values as JSON holds them."""
    return {
        name: {
            key: str(value) if isinstance(value, Path | Enum) else value
            for key, value in group.items()
            if value is not None
        }
        for name, group in values.items()
    }


class JobFolder:
    """A job's files.

    Args:
        place: The folder's path or address.
    """

    def __init__(self, place: str) -> None:
        self.place = place.rstrip("/") or "/"
        self._done = Existing(join(self.place, "done"))
        self._begun = Existing(join(self.place, "part"))

    @classmethod
    def at(cls, path: str | Path) -> Self:
        """Return the job in a folder, named by path or address."""
        return cls(address_of(path) or str(Path(path).absolute()))

    def refuse_existing(self) -> None:
        """Make sure that no other job is there.

        Raises:
            OutputError: One is.
        """
        if join(self.place, _DESCRIPTION) in Existing(self.place):
            raise OutputError("holds a job already", path=self.place, remedy="choose another -o")

    def fill(self, jobs: Plan, size: int) -> int:
        """Write the shards of a plan; return how many.

        Args:
            jobs: All of them.
            size: Photos in a shard.
        """
        sink, rest, number = Sink(overwrite=True), iter(jobs), 0
        while part := list(islice(rest, size)):
            lines: list[Line] = [
                {"input": job.source, "output": job.target, "etag": job.etag} for job in part
            ]
            sink.write(self._shard(number), _packed(lines))
            number += 1
        return number

    def describe(self, description: Description) -> None:
        """Write the description: from here on, it is a job."""
        text = json.dumps(asdict(description), indent=2) + "\n"
        Sink(overwrite=False).write(join(self.place, _DESCRIPTION), text.encode())

    def description(self) -> Description:
        """Read the description.

        Raises:
            InputError: There is none, or it is no job's.
        """
        path = join(self.place, _DESCRIPTION)
        try:
            return Description(**json.loads(read(path)))
        except InputError as e:
            raise InputError(str(e), path=path, remedy="'u2cut manifest' makes a job") from e
        except (ValueError, TypeError) as e:
            raise InputError("isn't the description of a job", path=path) from e

    def shard(self, number: int) -> Iterator[Job]:
        """Read the photos of a shard.

        Raises:
            InputError: It can't be read.
        """
        for line in _unpacked(self._shard(number)):
            yield Job(str(line["input"]), str(line["output"]), str(line.get("etag", "")))

    def is_done(self, number: int) -> bool:
        """Tell whether a shard has its journal."""
        return self._journal(number) in self._done

    def keep(self, number: int, records: list[Line]) -> None:
        """Write what became of a shard's first photos, so that they aren't done again."""
        Sink(overwrite=True).write(self._part(number), _packed(records))

    def kept(self, number: int, jobs: list[Job]) -> list[Line]:
        """Return what became of a shard's first photos, as far as ``keep`` wrote it down.

        Args:
            number: Of the shard.
            jobs: Its photos.
        """
        if self._part(number) not in self._begun:
            return []
        records = list(_unpacked(self._part(number)))
        same = [r.get("input") for r in records] == [j.source for j in jobs[: len(records)]]
        return records if same else []

    def finish(self, number: int, records: Iterable[Line], description: Description) -> None:
        """Write a shard's journal: it is done.

        Args:
            number: Of the shard.
            records: What became of each photo.
            description: The job's.
        """
        records = list(records)
        first = header(description.folder, photos=len(records), options={})
        Sink(overwrite=True).write(self._journal(number), _packed([first, *records]))

    def journal(self, number: int) -> Iterator[Line]:
        """Read a finished shard's journal.

        Raises:
            InputError: It can't be read.
        """
        return _unpacked(self._journal(number))

    def _shard(self, number: int) -> str:
        return join(self.place, "shards", f"{number:06}.jsonl.gz")

    def _part(self, number: int) -> str:
        return join(self.place, "part", f"{number:06}.jsonl.gz")

    def _journal(self, number: int) -> str:
        return join(self.place, "done", f"{number:06}.jsonl.gz")


def parse_shards(text: str, count: int) -> range:
    """Read which shards are meant: ``7``, ``10-19``; none are all of them.

    Raises:
        UsageError: It is neither, or there are no such shards.
    """
    if not text:
        return range(count)
    first, _, last = text.partition("-")
    if not (first.isdecimal() and (last or first).isdecimal()):
        raise UsageError(f"--shards {text}: give a number, as 7, or first and last, as 10-19")
    wanted = range(int(first), int(last or first) + 1)
    if not wanted or wanted[-1] >= count:
        raise UsageError(f"--shards {text}: the job's are 0 to {count - 1}")
    return wanted


def refuse_other_version(job: JobFolder, description: Description, weights: str) -> None:
    """Make sure that this machine makes the results that the job's others make.

    Raises:
        InputError: Its u2cut or its weights are others.
    """
    for name, theirs, own in (
        ("version of u2cut", description.version, __version__),
        ("weights", description.weights, weights),
    ):
        if theirs != own:
            raise InputError(
                f"the job was made with another {name} ({theirs}; here: {own})",
                path=job.place,
                remedy="use the same one, or make the job again",
            )


def _packed(lines: Iterable[Line]) -> bytes:
    text = "".join(json.dumps(line) + "\n" for line in lines)
    return gzip.compress(text.encode(), compresslevel=6, mtime=0)


def _unpacked(path: str) -> Iterator[Line]:
    try:
        for line in gzip.decompress(read(path)).splitlines():
            yield json.loads(line)
    except (OSError, EOFError, ValueError) as e:
        raise InputError(f"isn't whole ({e})", path=path) from e
    except InputError as e:
        raise InputError(str(e), path=path) from e
