"""Data sets that are far away, copied to where they can be read."""

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from u2cut.console import progress
from u2cut.errors import DataError, InputError, OutputError
from u2cut.files.address import address_of, base_name, stays_inside
from u2cut.files.read import read

_IN_FLIGHT: Final = 8


class Fetcher:
    """Copies folders into a temporary one, each once.

    Args:
        place: The temporary folder.
        quiet: Show no progress.
    """

    def __init__(self, place: Path, *, quiet: bool) -> None:
        self._place, self._quiet = place, quiet
        self._copied: dict[str, Path] = {}

    def at_hand(self, folder: Path) -> Path:
        """Return a folder's copy, or the folder itself if it is here.

        Raises:
            DataError: It can't be listed, or a file of it can't be read.
        """
        address = address_of(folder)
        if address is None:
            return folder
        if address not in self._copied:
            name = base_name(address.rstrip("/"))
            self._copied[address] = self._place / str(len(self._copied)) / name
            self._copy(address, self._copied[address])
        return self._copied[address]

    def _copy(self, address: str, to: Path) -> None:
        from u2cut.files import remote

        root = f"{address.rstrip('/')}/"
        try:
            found = [path for path, _ in remote.listing(root) if not path.endswith("/")]
        except InputError as e:
            raise DataError(str(e)) from e
        to.mkdir(parents=True)

        def fetch(path: str) -> None:
            relative = path.removeprefix(root)
            if not stays_inside(relative):
                raise DataError("its name leaves the folder", path=path)
            try:
                data = read(path)
            except InputError as e:
                raise DataError(str(e), path=path) from e
            target = to / relative
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
            except OSError as e:
                raise OutputError.from_os(
                    e, target, remedy="set TMPDIR to a folder with room"
                ) from e

        with (
            progress(len(found), unit="file", quiet=self._quiet) as bar,
            ThreadPoolExecutor(_IN_FLIGHT) as pool,
        ):
            for _ in pool.map(fetch, found):
                bar.update()


@contextmanager
def fetching(*, quiet: bool) -> Iterator[Fetcher]:
    """Yield what brings folders here, and remove its copies afterwards."""
    with tempfile.TemporaryDirectory(prefix="u2cut-data-") as place:
        yield Fetcher(Path(place), quiet=quiet)
