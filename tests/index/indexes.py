"""The implementations that the conformance suite runs on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from registry_proxy.index.sqlite import SqliteIndex

if TYPE_CHECKING:
    from registry_proxy.index.base import Index

KINDS = ("sqlite",)


def address_of(kind: str, folder: Path) -> str:
    """Return the address of an index of this kind, `KIND:PLACE`, which other processes can open too."""
    assert kind in KINDS
    return f"{kind}:{folder / 'index.db'}"


def open_index(address: str) -> Index:
    """Open the index at an address. It is created if it does not exist."""
    kind, _, place = address.partition(":")
    assert kind in KINDS
    return SqliteIndex(Path(place))
