"""`WWW-Authenticate` challenges (RFC 9110, section 11.6.1; the token protocol of Docker Registry v2)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_SCHEME = re.compile(rf"\s*,?\s*({_TOKEN})(?:\s+|$)", re.ASCII)
_PARAMETER = re.compile(rf'\s*,?\s*({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))\s*', re.ASCII)
_QUOTED_PAIR = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge: the scheme in lower case and its parameters, names in lower case."""

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict)


def parse_challenges(header: str) -> tuple[Challenge, ...]:
    """All challenges of a `WWW-Authenticate` value, in order; what follows a syntax error is left out."""
    challenges: list[Challenge] = []
    position = 0
    while match := _SCHEME.match(header, position):
        parameters: dict[str, str] = {}
        position = match.end()
        while parameter := _PARAMETER.match(header, position):
            name, quoted, bare = parameter.groups()
            parameters[name.lower()] = bare if quoted is None else _QUOTED_PAIR.sub(r"\1", quoted)
            position = parameter.end()
        challenges.append(Challenge(match[1].lower(), parameters))
    return tuple(challenges)
