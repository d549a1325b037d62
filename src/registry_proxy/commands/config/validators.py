"""Checks whether a text can be a value of the configuration, by the types of the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from registry_proxy.config.units import InvalidValueError

if TYPE_CHECKING:
    from registry_proxy.commands.config.prompter import Check


def is_a(kind: Any, *, many: bool = False) -> Check:
    """Return a check for a type of `config.types`, or for several values with commas between them."""
    adapter: TypeAdapter[Any] = TypeAdapter(kind)

    def check(text: str) -> str | None:
        try:
            adapter.validate_python(split(text) if many else text)
        except ValidationError as error:
            cause = error.errors()[0].get("ctx", {}).get("error")
            return f"This {cause}" if isinstance(cause, InvalidValueError) else error.errors()[0]["msg"]
        return None

    return check


def optional(check: Check) -> Check:
    """Return a check that also accepts the empty text."""
    return lambda text: check(text) if text else None


def split(text: str) -> list[str]:
    """Return the items of a comma-separated list."""
    return [item.strip() for item in text.split(",") if item.strip()]
