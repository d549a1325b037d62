"""`WWW-Authenticate` challenges (RFC 9110, section 11.6.1; the token protocol of Docker Registry v2)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from registry_proxy.oci.header_grammar import MAX_FIELD, QUOTED, WORD, unquoted

# The elements of a list may be empty (section 5.6.1.2), hence any number of commas before each.
_SCHEME = re.compile(rf"[\s,]*+({WORD})(?=[\s,]|$)", re.ASCII)
_TOKEN68 = re.compile(r"\s++[A-Za-z0-9\-._~+/]++=*+(?=\s*+(?:,|$))", re.ASCII)
_PARAMETER = re.compile(rf"[\s,]*+({WORD})\s*+=\s*+(?:{QUOTED}|({WORD}))", re.ASCII)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge: its scheme and its parameters. The scheme and all parameter names are lower case."""

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict)


def parse_challenges(header: str) -> tuple[Challenge, ...]:
    """Return all challenges of a `WWW-Authenticate` value, in order. Text after a syntax error or 16 KiB is ignored.

    A challenge with a token68 instead of parameters (`Negotiate TlRM…=`) has no parameters.
    """
    challenges: list[Challenge] = []
    header, position = header[:MAX_FIELD], 0
    while match := _SCHEME.match(header, position):
        parameters: dict[str, str] = {}
        token68 = _TOKEN68.match(header, match.end())
        position = (token68 or match).end()
        while parameter := _PARAMETER.match(header, position):
            name, quoted, bare = parameter.groups()
            parameters[name.lower()] = bare if quoted is None else unquoted(quoted)
            position = parameter.end()
        challenges.append(Challenge(match[1].lower(), parameters))
    return tuple(challenges)
