from __future__ import annotations

import asyncio
import subprocess
import sys

from tests.kit.waiting import until

from registry_proxy.service.memory import resident, return_freed_memory

MIB = 1 << 20


def test_freed_memory_is_returned_although_the_heap_has_holes() -> None:
    # In a process of its own, whose heap has no holes of other tests.
    subprocess.run([sys.executable, "-m", __name__], check=True)


async def free() -> None:
    task = asyncio.create_task(return_freed_memory(interval=0.02))
    await asyncio.sleep(0)
    pieces = [bytes(16 << 10) for _ in range(100 * 64)]
    kept = pieces[::64]  # one piece in each MiB stays
    full = resident()
    del pieces
    await until(lambda: resident() < full - 60 * MIB)
    task.cancel()
    assert len(kept) == 100


if __name__ == "__main__":
    asyncio.run(free())
