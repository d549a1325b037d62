"""`Link` headers (RFC 8288, section 3)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from registry_proxy.oci.header_grammar import MAX_FIELD, QUOTED, WORD, unquoted

if TYPE_CHECKING:
    from collections.abc import Iterator

_TARGET = re.compile(r"<([^<>]*+)>")
# A parameter without a name is an empty one, as in `;;`. Registries also send values that are not tokens.
_PARAMETER = re.compile(rf"\s*+;\s*+(?:({WORD})\s*+(?:=\s*+(?:{QUOTED}|([^\s,;\"]*+)))?)?", re.ASCII)


def link_target(header: str, relation: str) -> str | None:
    """Return the target of the first link with this relation type (in lower case), None if there is none.

    Text between the links, and after 16 KiB, is ignored.
    """
    return next((target for target, relations in _links(header[:MAX_FIELD]) if relation in relations), None)


def _links(header: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the target of each link, and its relation types in lower case."""
    position = 0
    while target := _TARGET.search(header, position):
        relations = None
        position = target.end()
        while parameter := _PARAMETER.match(header, position):
            name, quoted, bare = parameter.groups()
            # All but the first `rel` are ignored (section 3.3).
            if relations is None and name and name.lower() == "rel":
                relations = unquoted(quoted) if quoted is not None else bare
            position = parameter.end()
        yield target[1], (relations or "").lower().split()
