"""Image names and patterns as users write them, matched with the cached images."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from registry_proxy.commands.common import UsageError
from registry_proxy.oci.image_name import parse_image_name
from registry_proxy.oci.reference import InvalidDigestError, InvalidNameError, InvalidTagError, Source
from registry_proxy.service.wiring.presets import preset_of
from registry_proxy.upstream.presets import PRESETS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from registry_proxy.config import Settings
    from registry_proxy.index.base import Image
    from registry_proxy.oci.reference import Reference
    from registry_proxy.upstream.presets import Preset


class Names:
    """Names of the registries. Presets are included: a registry that is no longer configured may have content."""

    def __init__(self, settings: Settings) -> None:
        configured = [preset_of(name, upstream) for name, upstream in settings.upstreams.items()]
        self._presets: dict[str, Preset] = {}
        for preset in (*PRESETS, *configured):
            self._presets |= dict.fromkeys((preset.registry, *preset.aliases), preset)
        self._by_upstream = {preset.name: preset.registry for preset in (*PRESETS, *configured)}

    def parse(self, text: str) -> tuple[Source, Reference | None]:
        """Return the repository, and the tag or digest if there is one. Raise UsageError."""
        try:
            name = parse_image_name(text)
        except (InvalidNameError, InvalidTagError, InvalidDigestError) as error:
            raise UsageError(
                f"{text!r} is not an image: {error}. Write it as in alpine:3 or ghcr.io/acme/app."
            ) from None
        preset = self._presets.get(name.registry)
        if preset is None:
            return Source(name.registry, name.repository), name.reference
        return Source(preset.registry, preset.canonical(name.repository)), name.reference

    def select(self, images: Iterable[Image], pattern: str) -> list[Image]:
        """Return the images of a registry or an upstream, or those whose name starts with or matches the pattern."""
        preset = self._presets.get(pattern)
        registry = preset.registry if preset else self._by_upstream.get(pattern)
        if registry is not None:
            return [image for image in images if image.source.registry == registry]
        pattern = pattern.rstrip("/")
        return [image for image in images if any(_matches(name, pattern) for name in _names(image))]


def _matches(name: str, pattern: str) -> bool:
    return name.startswith(f"{pattern}/") or fnmatchcase(name, pattern)


def _names(image: Image) -> Iterator[str]:
    """Yield all spellings of the name of an image."""
    repository = image.source.repository.name
    for name in (str(image.source), repository, repository.removeprefix("library/")):
        yield name
        yield f"{name}:{image.tag}" if image.tag else f"{name}@{image.digest}"
