"""Marks of tests, derived from their code: which need the machine, and which start the program.

A test and its fixtures are followed through every function and class of `tests` that they refer to. This is coarse on
purpose: a test is also marked if only another branch of a helper needs root. Mark a test by hand with
`pytest.mark.machine` if the code under test is what needs root.
"""

from __future__ import annotations

import functools
import inspect
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pytest

MACHINE = "machine"  # needs root, Debian packages, or a network of its own
PROGRAM = "program"  # starts registry-proxy, a simulator or another program as a process

_MACHINE_MODULES = {"tests.kit.clients", "tests.kit.debian", "tests.kit.sealed"}
_MACHINE_WORDS = {
    "runnable_image",
    "caddy",
    "docker-registry",
    "mount",
    "nginx",
    "nsenter",
    "skopeo",
    "systemd-analyze",
    "unshare",
}
_PROGRAM_MODULES = {"tests.kit.processes", "tests.kit.remote"}
_PROGRAM_WORDS = {"create_subprocess_exec", "pexpect", "subprocess"}


def needs_of(item: pytest.Function) -> set[str]:
    """Return the marks of a test, for its function, its parameters and its fixtures."""
    fixtures = item._fixtureinfo.name2fixturedefs.values()
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return needs_of_all(
        [item.function, *(each.func for several in fixtures for each in several), *parameters]
    )


def needs_of_all(values: Iterable[object]) -> set[str]:
    """Return the marks for what is reachable from any of the values."""
    return set().union(*map(_needs_from, _followable(values)))


@functools.cache
def _needs_from(start: FunctionType | type) -> frozenset[str]:
    """Return the marks for everything that is reachable from a function or class."""
    seen: set[FunctionType | type] = {start}
    waiting = [start]
    needs: set[str] = set()
    while waiting:
        current = waiting.pop()
        needs |= _own_needs(current)
        found = _references(current) - seen
        seen |= found
        waiting += found
    return frozenset(needs)


@functools.cache
def _own_needs(part: FunctionType | type) -> frozenset[str]:
    words = {word for code in _codes(part) for word in _words(code)}
    needs = set()
    # An owner is changed by root alone; code that asks who runs it has a way for others.
    only_root = "chown" in words and "geteuid" not in words
    if part.__module__ in _MACHINE_MODULES or words & _MACHINE_WORDS or only_root:
        needs.add(MACHINE)
    if part.__module__ in _PROGRAM_MODULES or words & _PROGRAM_WORDS:
        needs.add(PROGRAM)
    return frozenset(needs)


@functools.cache
def _references(part: FunctionType | type) -> frozenset[FunctionType | type]:
    """Return the functions and classes of `tests` to which a function, or any method of a class, refers."""
    if isinstance(part, type):
        return frozenset(_followable([*vars(part).values(), *part.__bases__]))
    names = {name for code in _codes(part) for name in code.co_names}
    known = [part.__globals__[name] for name in names if name in part.__globals__]
    members = [
        vars(each).get(name)
        for each in known
        if isinstance(each, ModuleType) and _is_ours(each.__name__)
        for name in names
    ]
    closed = [cell.cell_contents for cell in part.__closure__ or ()]
    return frozenset(_followable([*known, *members, *closed]))


def _followable(values: Iterable[object]) -> Iterator[FunctionType | type]:
    """Reduce values to functions and classes of `tests`; containers to what is in them."""
    for value in values:
        if isinstance(value, dict):
            yield from _followable(value.values())
        elif isinstance(value, list | tuple | set | frozenset):
            yield from _followable(value)
        elif isinstance(value, property):
            yield from _followable([value.fget])
        elif isinstance(value, functools.cached_property | functools.partial):
            yield from _followable([value.func])
        else:
            found = inspect.unwrap(value) if callable(value) else type(value)
            if isinstance(found, type | FunctionType) and _is_ours(found.__module__):
                yield found


def _is_ours(module: str | None) -> bool:
    return module is not None and module.partition(".")[0] == "tests"


def _codes(part: FunctionType | type) -> Iterator[CodeType]:
    """Return the code of a function with that of the functions in it; a class has only its methods'."""
    waiting = [part.__code__] if isinstance(part, FunctionType) else []
    while waiting:
        code = waiting.pop()
        yield code
        waiting += [each for each in code.co_consts if isinstance(each, CodeType)]


def _words(code: CodeType) -> Iterator[str]:
    """Return the names in code, and the strings in it that could be the name of a program."""
    yield from code.co_names
    for constant in code.co_consts:
        values = constant if isinstance(constant, tuple | frozenset) else (constant,)
        yield from (each for each in values if isinstance(each, str))
