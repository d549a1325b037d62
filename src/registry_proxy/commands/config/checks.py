"""Whether a text can be a value of the configuration, by the configuration's own types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from registry_proxy.config.units import InvalidValueError

if TYPE_CHECKING:
    from registry_proxy.commands.config.prompter import Check


def is_a(kind: Any, *, many: bool = False) -> Check:
    """A check for texts of this type of `config.kinds`, or of several with commas between."""
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
    """A check that lets the empty text pass."""
    return lambda text: check(text) if text else None


def split(text: str) -> list[str]:
    """The items of a list as it is typed."""
    return [item.strip() for item in text.split(",") if item.strip()]
