"""How each upstream registry behaves, as data. The simulated servers read these and know no names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Profile:
    """One registry's ways. Host names are the real ones; on loopback each role has its own port instead."""

    name: str
    registry_host: str = "registry.test"
    auth: Literal["bearer", "basic", "none"] = "bearer"
    ping_needs_auth: bool = True

    token_host: str = ""  # empty: on the registry itself
    token_path: str = "/token"
    token_names: tuple[str, ...] = ("token",)
    service: str | None = ""  # None: the challenge names no service
    scope: str | None = None  # of every token; None: repository:NAME:pull
    challenged_scope: str | None = (
        None  # in challenges, if it isn't the one of tokens; {name} stands for the name
    )
    list_action: str = ""  # what a list of tags takes instead of the right to pull
    other_scopes_status: int = (
        0  # what the token service answers to scopes besides its own; 0: it ignores them
    )
    push_status: int = (
        0  # what the token service answers to a request for the right to push; 0: it grants less
    )
    alias: str = ""  # in front of every name in the token service
    token_seconds: int = 300
    token_tells_expiry: bool = True
    expired_token_status: int = 401
    expired_token_challenge: bool = True
    expired_token_realm: str = ""  # a realm of its own in the challenge after an expired token
    bad_login_status: int = 401
    unknown_repository: Literal["unauthorized", "denied", "not-found", "no-token"] = "unauthorized"

    blob_redirect: int = 0  # 0: served by the registry itself
    storage_host: str = ""  # empty: a relative Location on the registry
    storage_path: str = "/blobs/"
    storage_signed: bool = True
    storage_login: int = 0  # without the registry's login the storage answers this, without a challenge
    storage_refuses_login: bool = False  # also the registry's own storage: the signature is enough for it
    storage_head: bool = True  # False: a HEAD of a signed GET address is 403
    redirect_headers: Mapping[str, str] = field(default_factory=dict)
    missing_blob_redirects: bool = False
    missing_object_status: int = 404

    manifest_redirect: int = 0  # everything but blobs lives on backend_host
    backend_host: str = ""
    backend_prefix: str = ""
    backend_guarded: bool = False  # blobs are there too, and it asks for the login

    counts_pulls: bool = False
    referrers: Literal["api", "not-found", "astray"] = "api"
    absolute_links: bool = False
    opaque_pages: bool = False  # a page of tags begins after a mark that only the registry understands
    max_page: int = 0  # entries of a page of tags or referrers; 0: as many as were asked for
    ranges: bool = True
    head_blob_status: int = 200
    head_manifest_status: int = 200
    manifests_by_digest: bool = True
    bare_manifest_head: bool = False  # no digest, no length
    padding_header: int = 0  # bytes of a header that is nothing but large


DOCKERHUB = Profile(
    "dockerhub",
    registry_host="registry-1.docker.io",
    token_host="auth.docker.io",
    token_names=("token", "access_token"),
    service="registry.docker.io",
    blob_redirect=307,
    storage_host="production.cloudflare.docker.com",
    counts_pulls=True,
    referrers="not-found",
)
GHCR = Profile(
    "ghcr",
    registry_host="ghcr.io",
    service="ghcr.io",
    token_tells_expiry=False,
    bad_login_status=403,
    unknown_repository="no-token",
    blob_redirect=307,
    storage_host="pkg-containers.githubusercontent.com",
    storage_head=False,
    referrers="not-found",
)
QUAY = Profile(
    "quay",
    registry_host="quay.io",
    token_path="/v2/auth",
    service="quay.io",
    token_tells_expiry=False,
    blob_redirect=302,
    storage_host="cdn01.quay.io",
    opaque_pages=True,
    redirect_headers={"Cache-Control": "max-age=31536000"},
)
GCR = Profile(
    "gcr",
    registry_host="gcr.io",
    token_path="/v2/token",
    service="gcr.io",
    token_seconds=3600,
    unknown_repository="denied",
    blob_redirect=302,
    storage_path="/artifacts-downloads/namespaces/test/repositories/test/downloads/",
    padding_header=60_000,
)
K8S = Profile(
    "k8s",
    registry_host="registry.k8s.io",
    auth="none",
    ping_needs_auth=False,
    unknown_repository="not-found",
    blob_redirect=307,
    storage_host="prod-registry-k8s-io-us-east-1.s3.dualstack.us-east-1.amazonaws.com",
    storage_path="/containers/images/",
    storage_signed=False,
    missing_blob_redirects=True,
    missing_object_status=403,  # S3 answers 403 where the caller may not list the bucket
    manifest_redirect=307,
    backend_host="us-docker.pkg.dev",
    backend_prefix="k8s-artifacts-prod/images/",
)
ECR_PUBLIC = Profile(
    "ecr-public",
    registry_host="public.ecr.aws",
    token_path="/token/",
    service="public.ecr.aws",
    scope="aws",
    token_tells_expiry=False,
    expired_token_status=400,
    expired_token_challenge=False,
    unknown_repository="not-found",
    blob_redirect=307,
    storage_host="d5l0dvt14r5h8.cloudfront.net",
    head_blob_status=401,
    bare_manifest_head=True,
    referrers="not-found",
)
GITLAB = Profile(
    "gitlab",
    registry_host="registry.gitlab.com",
    token_host="gitlab.com",
    token_path="/jwt/auth",
    service="container_registry",
    blob_redirect=307,
    storage_host="cdn.registry.gitlab-static.net",
    absolute_links=True,
)
CODEBERG = Profile(
    "codeberg",
    registry_host="codeberg.org",
    token_path="/v2/token",
    service="container_registry",
    scope="*",
    unknown_repository="not-found",
)
NVCR = Profile(
    "nvcr",
    registry_host="nvcr.io",
    token_path="/proxy_auth",
    service=None,
    expired_token_realm="https://expired-token.nvcr.invalid/proxy_auth",
    unknown_repository="not-found",
)
MCR = Profile(
    "mcr",
    registry_host="mcr.microsoft.com",
    auth="none",
    ping_needs_auth=False,
    unknown_repository="not-found",
    blob_redirect=307,
    storage_host="eastus.data.mcr.microsoft.com",
)
LSCR = Profile(
    "lscr",
    registry_host="lscr.io",
    token_host="ghcr.io",
    service="ghcr.io",
    token_tells_expiry=False,
    unknown_repository="no-token",
    manifest_redirect=307,
    backend_host="ghcr.io",
    backend_guarded=True,
    referrers="not-found",
)
# Challenges that name nothing, something else, or more than a pull takes.
SCOPELESS = Profile("scopeless", challenged_scope="")
PLACEHOLDER = Profile(
    "placeholder", challenged_scope="repository:user/image:pull", unknown_repository="no-token"
)
GREEDY = Profile("greedy", challenged_scope="repository:{name}:pull,push", push_status=403)
ALIASED = Profile("aliased", challenged_scope="repository:tenant/{name}:pull", alias="tenant/")
AZURE = Profile(
    "azure", registry_host="example.azurecr.io", token_path="/oauth2/token", list_action="metadata_read"
)
ONE_SCOPE = Profile("one-scope", scope="registry:read:*", other_scopes_status=400)
# It redirects for blobs before it looks at the login, which is its storage's business.
STORING = Profile(
    "storing", blob_redirect=307, missing_blob_redirects=True, storage_signed=False, storage_login=403
)
BASIC = Profile("basic", auth="basic", unknown_repository="denied")
PLAIN = Profile(
    "plain",
    registry_host="registry.test:5000",
    auth="none",
    ping_needs_auth=False,
    unknown_repository="not-found",
)


def profile(name: str) -> Profile:
    """Return a profile by name.

    Raises KeyError when there is none of that name.
    """
    return {each.name: each for each in (*ALL, TAG_ONLY)}[name]


FIVE = (DOCKERHUB, GHCR, QUAY, GCR, K8S)
TAG_ONLY = Profile(
    "tag-only", auth="none", ping_needs_auth=False, unknown_repository="not-found", manifests_by_digest=False
)

SCOPES = (SCOPELESS, PLACEHOLDER, GREEDY, ALIASED, AZURE, ONE_SCOPE)
ALL = (*FIVE, ECR_PUBLIC, GITLAB, CODEBERG, NVCR, MCR, LSCR, *SCOPES, STORING, BASIC, PLAIN)
