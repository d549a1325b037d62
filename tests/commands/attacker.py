"""A user who plants links in a directory, again and again, while root works in it."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.kit.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OWNER = 12345
# A name is a directory, a link, and nothing, in turns. `aside` counts the turns.
_SWAP = """
turn=0
while :; do
  for name in $NAMES; do
    mv "$name" "$name.aside" && ln -s "$TARGET" "$name"
    rm -f "$name" && mv "$name.aside" "$name"
  done
  turn=$((turn + 1)); echo $turn > turns
done
"""


@contextmanager
def swapping(folder: Path, names: str, target: Path) -> Iterator[None]:
    """As another user, swap directories in a folder for links to `target`, as fast as possible."""
    attacker = subprocess.Popen(
        ["sh", "-c", _SWAP],
        cwd=folder,  # before the change of the user, who may not get there
        env={"PATH": "/usr/bin:/bin", "NAMES": names, "TARGET": str(target)},
        user=OWNER,
        group=OWNER,
        extra_groups=[],
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until((folder / "turns").exists)
        before = _turns(folder)
        yield
        wait_until(lambda: _turns(folder) > before)
    finally:
        attacker.kill()
        attacker.wait()


def _turns(folder: Path) -> int:
    return int((folder / "turns").read_text() or 0)
