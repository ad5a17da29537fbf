"""The watcher: look, wait until files stand still, cut them out, put them away."""

import hashlib
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Final

from filelock import FileLock, Timeout

from u2cut.batch.journal import Journal, refuse_other_options
from u2cut.batch.plan import Job, Plan, result_name
from u2cut.batch.result import Result
from u2cut.batch.run import open_predictor, run
from u2cut.console import NOTICE, logger
from u2cut.errors import ExitCode, InputError, OutputError, UsageError, printable
from u2cut.options import BatchOptions
from u2cut.watch.folder import Folder, Version
from u2cut.watch.memory import Memory
from u2cut.watch.options import WatchOptions
from u2cut.weights import cache

JOURNAL: Final = ".u2cut-watch.jsonl"
# A file so young may be damaged only because it isn't whole yet: it is tried again after these.
_YOUNG: Final = 60.0
_AGAIN: Final = (1.0, 5.0, 30.0)  # seconds
_BURST: Final = 32  # photos between two looks, and until a signal is obeyed


def watch(root: Path, options: BatchOptions, watching: WatchOptions) -> ExitCode:
    """Cut out what comes into a folder, until a signal, or with ``once`` until all is done.

    Args:
        root: The folder.
        options: How photos are cut out, and where results go.
        watching: How the folder is watched.

    Returns:
        With ``once``, ``PARTIAL`` if photos failed.

    Raises:
        UsageError: The results' place is no folder of their own.
        InputError: The folder isn't there.
        OutputError: Another watcher is at work here, or nothing can be written any more.
        WeightsError: The weights are not available.
    """
    output = options.output.output
    if output is None or output == "-":
        raise UsageError("say where the results go with -o DIR")
    if not root.is_dir():
        raise InputError("no such folder", path=root)
    if os.path.realpath(root) == os.path.realpath(output):
        raise UsageError("results go into a folder of their own: name another one with -o")
    with _alone(root), _stop_signals() as stop:
        journal = options.run.journal or Path(output) / JOURNAL
        journal.parent.mkdir(parents=True, exist_ok=True)
        if journal.exists() and journal.stat().st_size:
            refuse_other_options(journal, options.of_results())
        return _Watcher(root, Path(output), options, watching, journal, stop).run()


@dataclass(slots=True)
class _Try:
    """A photo that failed while it was young."""

    version: Version
    times: int
    next: float


class _Watcher:
    def __init__(
        self,
        root: Path,
        out: Path,
        options: BatchOptions,
        watching: WatchOptions,
        journal: Path,
        stop: threading.Event,
    ) -> None:
        self.root, self.out, self.watching, self.stop = root, out, watching, stop
        # What may be replaced is decided here, photo by photo.
        self.options = replace(
            options, output=replace(options.output, overwrite=True, skip_existing=False)
        )
        self.overwrite = options.output.overwrite
        aside = [p for p in (out, watching.move_done, watching.failed) if p is not None]
        self.folder = Folder(
            root, recursive=options.input.recursive, leave_out=aside, settle=watching.settle
        )
        self.memory = Memory(journal)
        self.journal_path = journal
        self.tries: dict[str, _Try] = {}
        self.failures = 0

    def run(self) -> ExitCode:
        with Journal(self.journal_path, photos=0, options=self.options.of_results()) as journal:
            self.journal = journal
            self.predictor = open_predictor(self.options)
            self.predictor.engine  # noqa: B018  (what is missing is said before the waiting)
            logger.log(NOTICE, "watching %s", printable(self.root))
            while not self.stop.is_set():
                waiting = self._look()
                if self.watching.once and not waiting and not self.folder_has_news:
                    break
                if not self.burst_left:
                    self.stop.wait(self.watching.every)
        failed = self.watching.once and self.failures
        return ExitCode.PARTIAL if failed else ExitCode.OK

    folder_has_news = True
    burst_left = False

    def _look(self) -> bool:
        """Cut out what is ready; tell whether a photo waits to be tried again."""
        now = time.monotonic()
        settled = self.folder.look(now)
        ready: dict[str, Version] = {}
        for name, version in settled.items():
            if self.memory.is_done(name, version):
                self._put_away(name, failed=self.memory.has_failed(name))
            elif self._is_due(name, version, now):
                ready[name] = version
        self.burst_left = len(ready) > _BURST
        if ready:
            self._cut_out(dict(list(ready.items())[:_BURST]))
        self.folder_has_news = bool(ready) or len(settled) < self.folder.count
        return bool(self.tries)

    def _is_due(self, name: str, version: Version, now: float) -> bool:
        again = self.tries.get(name)
        if again is not None and again.version != version:
            del self.tries[name]  # it was replaced: a new one
            again = None
        return again is None or now >= again.next

    def _cut_out(self, ready: dict[str, Version]) -> None:
        jobs: dict[str, tuple[str, Version]] = {}  # by input
        with Plan() as plan:
            for name, version in ready.items():
                job = self._job(name)
                refusal = self._refusal(name, job)
                if refusal is not None:
                    logger.error("%s", refusal)
                    self._finish(Result(job, status="failed", error=refusal), name, version)
                    continue
                plan.append(job)
                jobs[job.source] = (name, version)
                self.memory.begin(name, job.target)
            self.journal.begin(
                [
                    {"photo": name, "output": job.target, **_lasting(version)}
                    for job in plan
                    for name, version in [jobs[job.source]]
                ]
            )

            def report(result: Result) -> None:
                self._report(result, *jobs[result.job.source])

            if len(plan):
                run(plan, self.options, predictor=self.predictor, report=report)

    def _job(self, name: str) -> Job:
        inside, own = os.path.split(name)
        target = self.out / inside / result_name(own, self.options.output)
        return Job(str(self.root / name), str(target))

    def _refusal(self, name: str, job: Job) -> OutputError | None:
        """Return why a photo's result may not be written: its place is another's."""
        owner = self.memory.owner(job.target)
        if owner is not None and owner != name and (self.root / owner).exists():
            return OutputError(
                f"would replace the result of {printable(owner)}",
                path=job.target,
                remedy="--keep-ending tells them apart",
            )
        if owner is None and os.path.lexists(job.target) and not self.overwrite:
            return OutputError(
                "exists already, and no watcher made it",
                path=job.target,
                remedy="--overwrite replaces it",
            )
        return None

    def _report(self, result: Result, name: str, version: Version) -> None:
        if isinstance(result.error, OutputError) and not self.watching.once:
            # The photo is fine, the disk isn't: it waits for better times.
            self.tries[name] = _Try(version, 0, time.monotonic() + _AGAIN[-1])
            return
        if isinstance(result.error, InputError) and self._try_again(name, version):
            return
        self._finish(result, name, version)

    def _try_again(self, name: str, version: Version) -> bool:
        """Tell whether a damaged photo is so young that it may not be whole yet."""
        path = self.root / name
        if not path.exists():  # it went away while it was read: somebody else's move
            self.tries.pop(name, None)
            return True
        again = self.tries.setdefault(name, _Try(version, 0, 0.0))
        young = time.time() - version.mtime_ns / 1e9 < _YOUNG
        if again.times >= len(_AGAIN) or not (young or again.times):
            return False
        again.next = time.monotonic() + _AGAIN[again.times]
        again.times += 1
        return True

    def _finish(self, result: Result, name: str, version: Version) -> None:
        self.tries.pop(name, None)
        failed = result.status == "failed"
        self.journal.add(result, photo=name, **_lasting(version))
        self.memory.finish(name, version, failed=failed)
        self.failures += failed
        if failed and self.watching.failed is not None:
            self._say_why(name, str(result.error))
        self._put_away(name, failed=failed)

    def _say_why(self, name: str, error: str) -> None:
        assert self.watching.failed is not None
        path = self.watching.failed / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(error + "\n", "utf-8")

    def _put_away(self, name: str, *, failed: bool) -> None:
        """Move a photo that is done with, where that was asked for; nothing is replaced."""
        folder = self.watching.failed if failed else self.watching.move_done
        if folder is None:
            return
        target = _free(folder / name)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(self.root / name, target)
        except OSError as e:  # it is tried again at the next look
            logger.warning("%s: can't be moved (%s)", printable(name), e.strerror or e)


def _lasting(version: Version) -> dict[str, int]:
    return {"size": version.size, "mtime_ns": version.mtime_ns}


def _free(path: Path) -> Path:
    """Return the path, or one with a number where there is something already."""
    candidate, number = path, 1
    while os.path.lexists(candidate):
        number += 1
        candidate = path.with_stem(f"{path.stem} ({number})")
    return candidate


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Hold the folder, which only one watcher may have.

    Raises:
        OutputError: Another one has it.
    """
    name = hashlib.sha256(os.path.realpath(root).encode("utf-8", "surrogateescape")).hexdigest()
    try:
        cache.folder().mkdir(parents=True, exist_ok=True)
        lock = FileLock(cache.folder() / f".watch-{name[:16]}.lock", timeout=0)
        with lock:
            yield
    except Timeout as e:
        raise OutputError(
            "another u2cut watches this folder", path=root, remedy="stop it first"
        ) from e
    except OSError as e:
        raise OutputError.from_os(e, cache.folder(), "can't be written to") from e


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """Turn SIGINT and SIGTERM into an event; a second one acts as before."""
    stop = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def on_signal(number: int, _: FrameType | None) -> None:
        stop.set()
        signal.signal(number, before[signal.Signals(number)])
        logger.log(NOTICE, "stopping after the photos that were begun")

    for number in before:
        signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
