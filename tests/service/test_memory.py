from __future__ import annotations

import asyncio

from tests.kit.waiting import until

from registry_proxy.service.memory import resident, return_freed_memory

MIB = 1 << 20


async def test_freed_memory_is_returned_although_the_heap_has_holes() -> None:
    task = asyncio.create_task(return_freed_memory(interval=0.02))
    await asyncio.sleep(0)
    pieces = [bytes(16 << 10) for _ in range(100 * 64)]
    kept = pieces[::64]  # one piece in each MiB stays
    full = resident()
    del pieces
    await until(lambda: resident() < full - 60 * MIB)
    task.cancel()
    assert len(kept) == 100
