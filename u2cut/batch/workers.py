"""Threads that work off a queue; one that is stuck is left to itself, and replaced."""

import atexit
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from u2cut.errors import InputError

R = TypeVar("R")

# Stuck threads keep what they hold. So many at once, and it isn't the photos' fault.
MOST_STUCK = 64
_LAST_WAIT = 10.0  # seconds that threads at work get when Python ends


@dataclass(slots=True, eq=False)
class _Task(Generic[R]):
    work: Callable[[], R]
    give_up: Callable[[], None]
    future: Future[R] = field(default_factory=Future)
    started: float = 0.0


class Workers:
    """Some threads, used from one other thread.

    A thread can't be killed. What works for longer than the limit is declared failed with a
    ``TimeoutError``, a new thread takes its place, and whatever it still brings is thrown away.

    Args:
        count: How many threads.
        limit: Seconds that a piece of work may take; None for as long as it likes.
    """

    def __init__(self, count: int, *, limit: float | None = None) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._queue: SimpleQueue[_Task[Any] | None] = SimpleQueue()
        self._running: set[_Task[Any]] = set()
        self._stuck = 0
        self._threads: set[threading.Thread] = set()
        self._clock = 0.0  # seconds, but for those in which the process was suspended
        for _ in range(count):
            self._start_thread()
        _alive.add(self)

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._serve, name="u2cut worker", daemon=True)
        self._threads.add(thread)
        thread.start()

    def _serve(self) -> None:
        while (task := self._queue.get()) is not None:
            with self._lock:
                task.started = self._clock
                self._running.add(task)
            try:
                outcome, error = task.work(), None
            except BaseException as e:
                outcome, error = None, e
            with self._lock:
                if task not in self._running:  # given up meanwhile; another serves the queue
                    self._stuck -= 1
                    return
                self._running.remove(task)
            if error is None:
                task.future.set_result(outcome)
            else:
                task.future.set_exception(error)
            del task, outcome, error  # a photo is large

    def submit(
        self, work: Callable[[], R], *, give_up: Callable[[], None] = lambda: None
    ) -> Future[R]:
        """Queue a piece of work.

        Args:
            work: What to do.
            give_up: Called before the work is declared failed for taking too long.
        """
        task = _Task(work, give_up)
        self._queue.put(task)
        return task.future

    def settle(self, future: Future[R]) -> R | Exception:
        """Wait for a piece of work; return its result, or what it raised."""
        tick = None if self._limit is None else min(1.0, self._limit / 4)
        while not future.done():
            before = time.monotonic()
            wait((future,), timeout=tick)
            if tick is not None:
                # A pause much longer than the wait was the process's own (Ctrl-Z).
                self._clock += min(time.monotonic() - before, 2 * tick)
                self._let_go_of_overdue(self._limit or 0.0)
        try:
            return future.result()
        except Exception as e:
            return e

    def _let_go_of_overdue(self, limit: float) -> None:
        with self._lock:
            overdue = [task for task in self._running if self._clock - task.started > limit]
            self._running.difference_update(overdue)
            self._stuck += len(overdue)
        for task in overdue:
            task.give_up()
            task.future.set_exception(TimeoutError())
            self._start_thread()
        if self._stuck > MOST_STUCK:
            raise InputError(
                f"stopped: {self._stuck} photos are stuck at once; "
                "is a disk or a network share out of reach?"
            )

    def close(self) -> None:
        """Drop what hasn't begun; the threads end as soon as they have nothing to do."""
        while not self._queue.empty():
            self._queue.get()
        for _ in self._threads:
            self._queue.put(None)

    def join(self, timeout: float) -> None:
        """Wait for the threads, but for those that are stuck."""
        end = time.monotonic() + timeout
        with self._lock:
            stuck = self._stuck
        while sum(t.is_alive() for t in self._threads) > stuck and time.monotonic() < end:
            time.sleep(0.01)


_alive: "weakref.WeakSet[Workers]" = weakref.WeakSet()


@atexit.register
def _join_all() -> None:
    """Let threads finish what they are at: Python must not end under their feet."""
    for workers in list(_alive):
        workers.close()
        workers.join(_LAST_WAIT)
