from __future__ import annotations

import pytest

from registry_proxy.oci.errors import ErrorCode, RegistryError


@pytest.mark.parametrize("code", list(ErrorCode))
def test_codes_are_written_as_they_are_named(code: ErrorCode) -> None:
    assert str(code) == code.name


def test_an_error_carries_what_the_client_is_told() -> None:
    error = RegistryError(
        ErrorCode.TOOMANYREQUESTS, "wait a little", {"upstream": "docker.io"}, retry_after=30
    )
    assert (error.code, error.message, error.detail) == (
        ErrorCode.TOOMANYREQUESTS,
        "wait a little",
        {"upstream": "docker.io"},
    )
    assert error.retry_after == 30
    assert str(error) == "wait a little"


def test_detail_and_delay_are_optional() -> None:
    error = RegistryError(ErrorCode.DENIED, "no")
    assert error.detail == {}
    assert error.retry_after is None
