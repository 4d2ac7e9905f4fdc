"""Whoever follows changes hears of each, is told now and then that the stream lives, and is let go at the end."""

from __future__ import annotations

import asyncio

from self_healing.dashboard import changes as module
from self_healing.dashboard.changes import Changes


def test_a_follower_hears_the_version_at_once_and_then_each_change() -> None:
    async def run() -> list[int | None]:
        changes = Changes()
        heard = []
        async for version in changes.follow():
            heard.append(version)
            if len(heard) == 3:
                break
            changes.changed()
        return heard

    assert asyncio.run(run()) == [0, 1, 2]


def test_changes_of_another_thread_are_heard() -> None:
    async def run() -> int | None:
        changes = Changes()
        following = changes.follow()
        assert await anext(following) == 0
        await asyncio.to_thread(changes.changed)
        return await asyncio.wait_for(anext(following), 5)

    assert asyncio.run(run()) == 1


def test_many_changes_at_once_are_told_once() -> None:
    async def run() -> int | None:
        changes = Changes()
        following = changes.follow()
        await anext(following)
        for _ in range(100):
            changes.changed()
        return await asyncio.wait_for(anext(following), 5)

    assert asyncio.run(run()) == 100


def test_the_end_lets_everybody_go() -> None:
    async def run() -> list[int | None]:
        changes = Changes()
        following = changes.follow()
        await anext(following)
        changes.end()
        return [version async for version in following]

    assert asyncio.run(asyncio.wait_for(run(), module.BEAT_S)) == []
