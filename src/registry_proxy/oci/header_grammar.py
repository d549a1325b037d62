"""Elements of header fields (RFC 9110, section 5.6), as regular expressions that never backtrack.

A field that a hostile peer has chosen takes time in proportion to its length: each repeated class is possessive, and
no two alternatives begin with the same character. Python before 3.11.5 has a defect in possessive groups, so only
classes are possessive.
"""

from __future__ import annotations

import re

# Longer values are cut. Those of registries have at most some 4,000 characters, and 128 KiB of the shortest elements
# would hold the event loop for 0.2 s.
MAX_FIELD = 16 * 1024

# A token (section 5.6.2).
WORD = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
# Section 5.6.4, with one group for the text between the quotes.
QUOTED = r'"([^"\\]*+(?:\\.[^"\\]*+)*)"'
_QUOTED_PAIR = re.compile(r"\\(.)")


def unquoted(text: str) -> str:
    """Return the value of the text between the quotes of a quoted string."""
    return _QUOTED_PAIR.sub(r"\1", text)
