"""What a test needs is read off its code, and that of all helpers that it reaches."""

from __future__ import annotations

import functools
import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from tests.kit import clients, images, needs, processes, users
from tests.kit.clients import Skopeo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.kit.sealed import SealedNetwork


@contextmanager
def disk() -> Iterator[None]:
    subprocess.run(["mount", "--help"], check=True)
    yield


class Pulling:
    client = Skopeo

    @property
    def client_by_property(self) -> Skopeo:
        return Skopeo()


KINDS: dict[str, Callable[[], object]] = {"skopeo": lambda: Skopeo()}  # noqa: PLW0108


def nothing() -> None:
    images.image()


def only_an_annotation(network: SealedNetwork) -> None:
    pass


def asks_who_runs_it() -> None:
    with users.ordinary_user():
        pass


def the_owner(path: Path) -> None:
    os.chown(path, 1234, 1234)


def a_client() -> None:
    Skopeo()


def a_client_of_a_module() -> None:
    clients.Skopeo()


def a_client_in_a_table() -> None:
    KINDS["skopeo"]()


def a_client_of_a_class() -> None:
    Pulling()


def a_client_in_a_nested_function() -> Callable[[], object]:
    return lambda: [Skopeo() for _ in range(1)]


def a_context_manager() -> None:
    with disk():
        pass


def an_image_that_runs() -> None:
    images.runnable_image()


def a_program() -> None:
    processes.run(processes.Local(), ["true"])


BOTH = {needs.MACHINE, needs.PROGRAM}


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (nothing, set()),
        (only_an_annotation, set()),
        (asks_who_runs_it, set()),
        (the_owner, {needs.MACHINE}),
        (an_image_that_runs, {needs.MACHINE}),
        (a_client, BOTH),
        (a_client_of_a_module, BOTH),
        (a_client_in_a_table, BOTH),
        (a_client_of_a_class, BOTH),
        (a_client_in_a_nested_function, BOTH),
        (functools.wraps(a_client)(lambda: None), BOTH),
        (a_context_manager, BOTH),
        (a_program, {needs.PROGRAM}),
    ],
)
def test_needs_are_found(function: Callable[..., object], expected: set[str]) -> None:
    assert needs.needs_of_all([function]) == expected


@pytest.fixture
def client() -> type[Skopeo]:
    return Skopeo


@pytest.mark.usefixtures("client")
def test_a_test_is_marked_with_what_its_fixtures_need(request: pytest.FixtureRequest) -> None:
    assert {mark.name for mark in request.node.iter_markers()} >= BOTH


def test_a_test_that_needs_nothing_has_no_mark(request: pytest.FixtureRequest) -> None:
    assert not BOTH & {mark.name for mark in request.node.iter_markers()}
