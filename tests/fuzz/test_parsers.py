"""Whatever another program sends: only the documented errors, in a time that grows with the length.

`make fuzz` runs the same parsers for as long as you like.
"""

from __future__ import annotations

import signal
from contextlib import contextmanager
from itertools import permutations, product
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fuzz.parsers import PARSERS, Parser

if TYPE_CHECKING:
    from collections.abc import Iterator

# In bytes. A parser whose time grows with the square of the length takes a second for this, one that backtracks
# in all combinations takes years.
_REPEATED = 16 * 1024
# In seconds of processor time. All parsers take less than a hundredth of it.
_LONGEST = 0.5
_EACH = pytest.mark.parametrize("parser", PARSERS, ids=[parser.name for parser in PARSERS])


@contextmanager
def limited_time() -> Iterator[None]:
    """Raise TimeoutError in the block when it has used too much processor time."""

    def fail(*_: object) -> None:
        raise TimeoutError(f"not done after {_LONGEST} s of processor time")

    before = signal.signal(signal.SIGPROF, fail)
    signal.setitimer(signal.ITIMER_PROF, _LONGEST)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def text(parser: Parser, most: int) -> st.SearchStrategy[bytes]:
    """Bytes made of the parser's pieces, and a few others."""
    piece = st.one_of(st.sampled_from([*parser.pieces, *parser.seeds]), st.binary(max_size=3))
    return st.lists(piece, max_size=most).map(b"".join)


def repetitions(parser: Parser) -> Iterator[bytes]:
    """Inputs with a part that repeats: the worst case of an expression that backtracks is one of these."""
    length = min(parser.longest, _REPEATED)
    pairs = [b"".join(pair) for pair in permutations(parser.pieces, 2)]
    beginnings = product([b"", *parser.pieces, *parser.seeds], parser.pieces)
    for before, middle in [*beginnings, *product([b"", *parser.pieces[:4]], pairs)]:
        yield before + middle * (length // len(middle)) + b"!"


@_EACH
@settings(max_examples=100)
@given(data=st.data())
def test_any_input_is_parsed_or_refused_as_documented(parser: Parser, data: st.DataObject) -> None:
    parser(data.draw(text(parser, 30)))


@_EACH
def test_no_repetition_takes_long(parser: Parser) -> None:
    for hostile in repetitions(parser):
        with limited_time():
            parser(hostile)


@_EACH
def test_the_examples_are_accepted(parser: Parser) -> None:
    for seed in parser.seeds:
        parser.parse(seed)
