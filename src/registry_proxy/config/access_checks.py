"""What the keys of `[access]` must be together: a rule that asks nothing must not look as if it did."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry_proxy.config.problems import Problem, dotted
from registry_proxy.config.settings import AccessSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import BaseModel

    from registry_proxy.config.layers import Key, Layer
    from registry_proxy.config.settings import UpstreamSettings


def idle_client_names(
    sections: Mapping[str, BaseModel | None], upstreams: Mapping[str, UpstreamSettings], layer: Layer
) -> Iterator[Problem]:
    """Names that certificates must have, where no certificate is asked for."""
    access = sections["access"]
    assert isinstance(access, AccessSettings)
    if access.client_ca is not None:
        return
    keys: list[Key] = [
        ("upstreams", name, "access_client_names")
        for name, upstream in upstreams.items()
        if upstream.access_client_names
    ]
    if access.client_names != AccessSettings.model_fields["client_names"].default:
        keys.append(("access", "client_names"))
    for key in keys:
        text = "asks for names in certificates, but there is no access.client_ca"
        yield Problem(layer[key].origin, dotted(key), text, "Set access.client_ca, or take this out.")
