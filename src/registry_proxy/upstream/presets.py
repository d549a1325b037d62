"""Registries whose ways are known, as values; any other is described by one more `Preset`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from yarl import URL

from registry_proxy.oci.reference import official

if TYPE_CHECKING:
    from registry_proxy.oci.reference import Repository


@dataclass(frozen=True, slots=True)
class Preset:
    """What has to be known of a registry before the first request to it.

    `registry` is its name in image references and `url` where it answers; `aliases` are further names in use.
    `realm_hosts` are hosts beside the registry's own that its credentials may go to.
    """

    name: str
    registry: str
    url: str
    aliases: tuple[str, ...] = ()
    realm_hosts: frozenset[str] = frozenset()
    library: bool = False
    default: bool = False

    def __post_init__(self) -> None:
        try:
            url = URL(self.url)
            valid = url.scheme in ("http", "https") and bool(url.host) and url.user is None
        except ValueError:
            raise ValueError(f"{self.url!r} is not a URL") from None
        if not valid or url.path != "/" or url.query_string or url.fragment:
            raise ValueError(
                f"the URL {self.url!r} must be http:// or https:// and a host, and nothing after it"
            )

    def canonical(self, repository: Repository) -> Repository:
        """The name that the registry itself uses: `alpine` is `library/alpine` on Docker Hub."""
        return official(repository) if self.library else repository


PRESETS = (
    Preset(
        "dockerhub",
        "docker.io",
        "https://registry-1.docker.io",
        aliases=("index.docker.io", "registry-1.docker.io"),
        realm_hosts=frozenset({"auth.docker.io"}),
        library=True,
        default=True,
    ),
    Preset("ghcr", "ghcr.io", "https://ghcr.io", default=True),
    Preset("quay", "quay.io", "https://quay.io", default=True),
    Preset("gcr", "gcr.io", "https://gcr.io", default=True),
    Preset("k8s", "registry.k8s.io", "https://registry.k8s.io", default=True),
    Preset(
        "gitlab",
        "registry.gitlab.com",
        "https://registry.gitlab.com",
        realm_hosts=frozenset({"gitlab.com"}),
    ),
    Preset("ecr-public", "public.ecr.aws", "https://public.ecr.aws"),
    # lscr.io has no token service of its own: it challenges with, and redirects to, ghcr.io.
    Preset("lscr", "lscr.io", "https://lscr.io", realm_hosts=frozenset({"ghcr.io"})),
    Preset("codeberg", "codeberg.org", "https://codeberg.org"),
    Preset("mcr", "mcr.microsoft.com", "https://mcr.microsoft.com"),
    Preset("nvcr", "nvcr.io", "https://nvcr.io"),
)
