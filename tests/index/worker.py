"""Another process on an index: it writes blobs `PREFIX-0`, `PREFIX-1` …, and prints each number that is written."""

from __future__ import annotations

import asyncio
import sys

from tests.index.indexes import open_index
from tests.index.values import ALPINE, blob

# So many are written at once, to be batched.
_AT_ONCE = 20


async def main(address: str, prefix: str, count: int) -> None:
    index = open_index(address)

    async def write(number: int) -> None:
        await index.reserve(blob(f"{prefix}-{number}").digest, 1, 1.0)
        await index.record_blob(ALPINE, blob(f"{prefix}-{number}", 1), 1.0)
        print(number, flush=True)

    print("ready", flush=True)
    sys.stdin.readline()
    for first in range(0, count, _AT_ONCE):
        await asyncio.gather(*(write(first + number) for number in range(_AT_ONCE)))
    await index.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
