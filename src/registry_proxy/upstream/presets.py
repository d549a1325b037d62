"""Built-in settings of well-known registries. The configuration adds a `Preset` for each other one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from yarl import URL

from registry_proxy.oci.reference import official
from registry_proxy.policy.access import AddressRanges

if TYPE_CHECKING:
    from registry_proxy.oci.reference import Repository


@dataclass(frozen=True, slots=True)
class Preset:
    """Settings of a registry that the first request requires.

    `registry` is the name in image references, `aliases` are its other names, `url` is the address of the API.
    `realm_hosts` are other hosts to which the registry's credentials may be sent. `redirect_networks` hold addresses to
    which it may redirect although they are not public.
    """

    name: str
    registry: str
    url: str
    aliases: tuple[str, ...] = ()
    realm_hosts: frozenset[str] = frozenset()
    redirect_networks: AddressRanges = AddressRanges()  # noqa: RUF009 - immutable
    library: bool = False
    default: bool = False

    def __post_init__(self) -> None:
        try:
            url = URL(self.url)
            valid = url.scheme in ("http", "https") and bool(url.host) and url.user is None
        except ValueError:
            raise ValueError(f"{self.url!r} is not a URL") from None
        if not valid or url.path != "/" or url.query_string or url.fragment:
            raise ValueError(f"the URL {self.url!r} must be http:// or https:// and a host, without a path")

    def canonical(self, repository: Repository) -> Repository:
        """Return the name that the registry uses: for `alpine`, `library/alpine` on Docker Hub."""
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
    # lscr.io has no token service: its challenges and redirects refer to ghcr.io.
    Preset("lscr", "lscr.io", "https://lscr.io", realm_hosts=frozenset({"ghcr.io"})),
    Preset("codeberg", "codeberg.org", "https://codeberg.org"),
    Preset("mcr", "mcr.microsoft.com", "https://mcr.microsoft.com"),
    Preset("nvcr", "nvcr.io", "https://nvcr.io"),
)
