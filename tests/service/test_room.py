"""Who waits for whom, when photos are large."""

import asyncio

from u2cut.service.metrics import Metrics
from u2cut.service.room import Room


def order_of(*pixels: int, photos: int = 9, room: int = 100) -> list[str]:
    """Let photos come one after the other and stay for a while; say what happened, in order."""
    happened: list[str] = []

    async def come(number: int, amount: int, place: Room) -> None:
        async with place.hold(amount):
            happened.append(f"{number} in")
            for _ in range(20):
                await asyncio.sleep(0)
            happened.append(f"{number} out")

    async def all_of_them() -> None:
        place = Room(photos, room, Metrics())
        async with asyncio.TaskGroup() as group:
            for number, amount in enumerate(pixels):
                group.create_task(come(number, amount, place))

    asyncio.run(all_of_them())
    return happened


def test_photos_that_fit_together_are_held_together() -> None:
    assert order_of(40, 60)[:2] == ["0 in", "1 in"]


def test_what_does_not_fit_waits_and_the_next_one_does_not_overtake_it() -> None:
    happened = order_of(60, 60, 10)
    assert happened.index("0 out") < happened.index("1 in") < happened.index("2 in")


def test_a_photo_larger_than_the_room_has_it_alone() -> None:
    assert order_of(500, 1, 500) == ["0 in", "0 out", "1 in", "1 out", "2 in", "2 out"]


def test_no_more_photos_than_allowed_however_small() -> None:
    happened = order_of(1, 1, 1, photos=2)
    assert happened.index("2 in") > happened.index("0 out")


def test_who_gives_up_while_waiting_leaves_the_room_as_it_was() -> None:
    async def give_up() -> bool:
        place = Room(9, 100, Metrics())
        async with place.hold(100):
            waiting = asyncio.create_task(place.hold(1).__aenter__())
            await asyncio.sleep(0.01)
            waiting.cancel()
            await asyncio.wait([waiting])
        async with asyncio.timeout(5), place.hold(100):
            return True

    assert asyncio.run(give_up())
