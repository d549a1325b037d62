"""Templates of the files that an installation writes."""

from __future__ import annotations

import json

from jinja2 import Environment, PackageLoader, StrictUndefined


def render(template: str, **values: object) -> bytes:
    """Render a template. Every value must be given; the filter `yaml` quotes a value for a Compose file."""
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
    """Return JSON, which is YAML. Compose reads a single dollar as the beginning of a variable."""
    return json.dumps(value, ensure_ascii=False).replace("$", "$$")
