"""The files that an installation writes, from their templates."""

from __future__ import annotations

import json

from jinja2 import Environment, PackageLoader, StrictUndefined


def render(template: str, **values: object) -> bytes:
    """A template with its values; every value must be given, and `yaml` quotes one for a Compose file."""
    environment = Environment(
        loader=PackageLoader("registry_proxy.commands.install"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - no HTML
    )
    environment.filters["yaml"] = _compose_scalar
    return environment.get_template(template).render(values).encode()


def _compose_scalar(value: object) -> str:
    """JSON, which is YAML; Compose takes a single dollar for the beginning of a variable."""
    return json.dumps(value, ensure_ascii=False).replace("$", "$$")
