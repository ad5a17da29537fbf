import threading
import time

import pytest

from u2cut.batch import workers
from u2cut.batch.workers import Workers
from u2cut.errors import InputError


def test_stuck_work_fails_alone_and_its_thread_is_replaced() -> None:
    pool, freed, given_up = Workers(1, limit=0.2), threading.Event(), []
    stuck = pool.submit(freed.wait, give_up=lambda: given_up.append("stuck"))
    others = [pool.submit(lambda i=i: i * i) for i in range(5)]
    assert isinstance(pool.settle(stuck), TimeoutError)
    assert [pool.settle(other) for other in others] == [0, 1, 4, 9, 16]
    assert given_up == ["stuck"]
    freed.set()  # it returns after all, and nobody takes notice
    pool.close()
    pool.join(5)
    assert isinstance(pool.settle(stuck), TimeoutError)


def test_work_that_waits_for_a_stuck_thread_gets_its_turn_before_it_is_asked_for() -> None:
    pool, freed = Workers(1, limit=0.2), threading.Event()
    pool.submit(freed.wait)
    assert pool.settle(pool.submit(lambda: "done")) == "done"
    freed.set()
    pool.close()


def test_time_in_which_the_process_was_suspended_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hour, real = [0.0], time.monotonic
    monkeypatch.setattr("u2cut.batch.workers.time.monotonic", lambda: real() + hour[0])
    pool, freed = Workers(1, limit=2), threading.Event()
    future = pool.submit(lambda: freed.wait(5))
    threading.Timer(0.1, lambda: hour.__setitem__(0, 3600.0)).start()
    threading.Timer(0.8, freed.set).start()
    assert pool.settle(future) is True
    pool.close()


def test_too_many_stuck_threads_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "MOST_STUCK", 2)
    pool, freed = Workers(1, limit=0.05), threading.Event()
    for _ in range(3):
        pool.submit(freed.wait)
    with pytest.raises(InputError, match="3 photos are stuck"):
        pool.settle(pool.submit(freed.wait))
    freed.set()
    pool.close()


def test_an_error_is_an_outcome_even_a_timeout_of_its_own() -> None:
    pool = Workers(2, limit=5)

    def late() -> None:
        raise TimeoutError("its own")

    outcome = pool.settle(pool.submit(late))
    assert isinstance(outcome, TimeoutError)
    assert str(outcome) == "its own"
    pool.close()
    pool.join(5)
    assert not any(thread.is_alive() for thread in pool._threads)
