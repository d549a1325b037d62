"""Checks across several keys: credentials, clashing upstreams and addresses, TLS, client certificates, and warnings."""

from __future__ import annotations

import itertools
import os
import shutil
import stat
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from registry_proxy.config.problems import Problem, dotted
from registry_proxy.config.settings import AccessSettings, CredentialSettings, ServerSettings, TlsSettings
from registry_proxy.config.sharing import is_shared
from registry_proxy.config.types import check_hmac_key, check_password

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pydantic import BaseModel

    from registry_proxy.config.layers import Key, Layer
    from registry_proxy.config.loader import Loader
    from registry_proxy.config.settings import UpstreamSettings
    from registry_proxy.config.units import Address

_SECRETS = {"password", "eab_hmac_key"}
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_SOURCES = ("password", "password_file", "password_command", "credential_helper")
# They require consent to terms that are known without a request.
_LETS_ENCRYPT = ("letsencrypt", "letsencrypt-staging")
_KEEP_ONE = "Keep one of the two."

WithCredentials = TypeVar("WithCredentials", bound=CredentialSettings)
# Key, problem and remedy.
Contradiction = tuple[str, str, str]


def checked_credentials(settings: WithCredentials, key: Key, loader: Loader) -> WithCredentials:
    """Return the settings, with the password from `password_file` if that is set."""
    written = {
        name
        for name, field in type(settings).model_fields.items()
        if getattr(settings, name) != field.default
    }
    contradiction = _credential_contradiction(written)
    if contradiction is not None:
        name, text, remedy = contradiction
        loader.report((*key, name), text, remedy)
        return settings
    if settings.password_file is None:
        return settings
    password = loader.read_secret(settings.password_file, check_password, (*key, "password_file"))
    return settings.model_copy(update={"password": password})


def _credential_contradiction(names: set[str]) -> Contradiction | None:
    """Return a contradiction among the keys that differ from their defaults."""
    sources = [name for name in _SOURCES if name in names]
    found = None
    if len(sources) > 1:
        found = sources[1], f"is set together with {sources[0]}", _KEEP_ONE
    elif "username" in names and not sources:
        remedy = "Set password, password_file or password_command as well."
        found = "username", "is set without password", remedy
    elif "username" in names and sources == ["credential_helper"]:
        text = "is set together with credential_helper, which returns the user name"
        found = "username", text, _KEEP_ONE
    elif "username" not in names and sources and sources != ["credential_helper"]:
        found = sources[0], "is set without username", "Set username as well."
    elif "password_lifetime" in names and sources not in (["password_command"], ["credential_helper"]):
        remedy = "Remove it: the server re-reads a password file when it changes."
        found = "password_lifetime", "is set without password_command or credential_helper", remedy
    return found


def clashes(upstreams: Mapping[str, UpstreamSettings], layer: Layer) -> Iterator[Problem]:
    """Yield a problem for each two upstreams with the same registry or host name: requests would be ambiguous."""
    for attribute in ("registry", "hostname"):
        owners: dict[str, str] = {}
        for name, upstream in upstreams.items():
            value = getattr(upstream, attribute)
            owner = owners.setdefault(value, name) if value else name
            if owner != name:
                key = ("upstreams", name, attribute)
                text = f"{value} is already the {attribute} of upstreams.{owner}"
                remedy = f"Change one of the two, or set enabled = false in [upstreams.{owner}]."
                yield Problem(layer[key].origin, dotted(key), text, remedy)


def checked_tls(section: BaseModel | None, hostnames: Sequence[str], loader: Loader) -> TlsSettings | None:
    """Return the TLS settings with the secret from its file, or None if TLS is off. `hostnames` are the upstreams'."""
    assert isinstance(section, TlsSettings)
    layer = loader.layer
    written = [key for key in layer if key[0] == "tls"]
    if not written:
        return None
    found = list(_tls_contradictions(section, hostnames))
    for name, text, remedy in found:
        key = ("tls", name)
        origin = layer[key if key in layer else written[0]].origin
        loader.problems.append(Problem(origin, dotted(key), text, remedy))
    if section.eab_hmac_key_file is None or found:
        return section
    secret = loader.read_secret(section.eab_hmac_key_file, check_hmac_key, ("tls", "eab_hmac_key_file"))
    return section.model_copy(update={"eab_hmac_key": secret})


def _tls_contradictions(tls: TlsSettings, hostnames: Sequence[str]) -> Iterator[Contradiction]:
    if tls.acme is None and not tls.cert and not tls.key:
        remedy = 'Set cert and key, or acme = "letsencrypt"; or delete [tls] to serve without TLS.'
        yield "acme", "is missing, and so is cert", remedy
    elif tls.acme is None and len(tls.cert) != len(tls.key):
        text = f"has {len(tls.key)} files, but cert has {len(tls.cert)}"
        yield "key", text, "Specify the key of each certificate, in the same order."
    elif tls.acme is not None:
        yield from _acme_contradictions(tls, hostnames)


def _acme_contradictions(tls: TlsSettings, hostnames: Sequence[str]) -> Iterator[Contradiction]:
    if tls.cert or tls.key:
        yield "acme", "is set together with cert or key", "Keep cert and key, or acme."
    if not hostnames and not tls.hostnames:
        remedy = "Set tls.hostnames, or a hostname in each [upstreams.NAME]."
        yield "hostnames", "is empty, so there is no host name for a certificate", remedy
    if tls.acme in _LETS_ENCRYPT and not tls.agree_tos:
        remedy = "Read https://letsencrypt.org/repository/ and set agree_tos = true."
        yield "agree_tos", "is not true, but Let's Encrypt requires consent to its terms", remedy
    has_key = tls.eab_hmac_key is not None or tls.eab_hmac_key_file is not None
    if tls.eab_hmac_key is not None and tls.eab_hmac_key_file is not None:
        yield "eab_hmac_key_file", "is set together with eab_hmac_key", _KEEP_ONE
    elif has_key != (tls.eab_kid is not None):
        missing = "eab_kid" if has_key else "eab_hmac_key"
        text = "is missing: an external account requires eab_kid and eab_hmac_key"
        yield missing, text, f"Set {missing}."
    if tls.ca_root is not None and not os.access(tls.ca_root, os.R_OK):
        yield "ca_root", f"can't read {tls.ca_root}", "Fix the file's path or its permissions."
    if tls.challenges == ("http-01",) and not tls.http:
        yield "http", "has no address, but http-01 requires port 80", 'Set http = ["[::]:80"].'


def address_clashes(sections: Mapping[str, BaseModel | None], layer: Layer) -> Iterator[Problem]:
    """Yield a problem for each address that another one includes, and for a server without an address."""
    server, tls = sections["server"], sections["tls"]
    assert isinstance(server, ServerSettings)
    lists: dict[Key, Sequence[Address]] = {("server", "listen"): server.listen}
    if isinstance(tls, TlsSettings):
        lists |= {("tls", "listen"): tls.listen, ("tls", "http"): tls.http}
    elif not server.listen:
        remedy = 'Write it like ["127.0.0.1:5000"]. The list may be empty only with TLS.'
        yield Problem(layer["server", "listen"].origin, "server.listen", "has no address", remedy)
    uses = [(key, address) for key, addresses in lists.items() for address in addresses]
    for (owner, first), (key, second) in itertools.combinations(uses, 2):
        if first.overlaps(second):
            # Defaults do not clash, so the configuration has at least one of the two.
            origin = next(layer[each].origin for each in (key, owner) if each in layer)
            yield Problem(origin, dotted(key), *_clash(dotted(owner), first, second))


def _clash(owner: str, first: Address, second: Address) -> tuple[str, str]:
    """Return what is wrong with two addresses that overlap, and how to fix it."""
    if first == second:
        return f"{second} is already in {owner}", "Change one of the two."
    text = f"{second} and {first} of {owner} overlap"
    return text, "Keep one of the two: [::] includes every address, 0.0.0.0 every IPv4 address."


def unused_client_ca(sections: Mapping[str, BaseModel | None], layer: Layer) -> Iterator[Problem]:
    """Yield a problem if client certificates are requested although TLS is off."""
    if sections["tls"] is None and (entry := layer.get(("access", "client_ca"))) is not None:
        remedy = "Add [tls], or remove access.client_ca."
        yield Problem(entry.origin, "access.client_ca", "requires TLS, which is off", remedy)


def unused_client_names(
    sections: Mapping[str, BaseModel | None], upstreams: Mapping[str, UpstreamSettings], layer: Layer
) -> Iterator[Problem]:
    """Yield a problem for each key that restricts client certificates although none is requested."""
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
        text, remedy = "requires access.client_ca", "Set access.client_ca, or remove this key."
        yield Problem(layer[key].origin, dotted(key), text, remedy)


def readable_secrets(layer: Layer, secret_files: Iterable[Path | None]) -> Iterator[str]:
    """Yield a warning for each file with a password that users other than its owner can read."""
    files = {entry.file for key, entry in layer.items() if key[-1] in _SECRETS}
    for file in sorted(file for file in files.union(secret_files) if file):
        if file.exists() and _is_exposed(file.stat()):
            yield f"{file} contains a password, and other users can read it. Run: chmod go-r {file}"


def _is_exposed(status: os.stat_result) -> bool:
    # The group of a service must be able to read its files.
    others = stat.S_IROTH if is_shared(status) else stat.S_IROTH | stat.S_IRGRP
    return bool(status.st_mode & others)


def clear_text_passwords(upstreams: Mapping[str, UpstreamSettings]) -> Iterator[str]:
    """Yield a warning for each upstream whose passwords cross a network unencrypted."""
    for name, upstream in upstreams.items():
        url = urlsplit(upstream.url)
        has_passwords = any(each.username or each.credential_helper for each in upstream.credentials)
        if has_passwords and url.scheme == "http" and url.hostname not in _LOOPBACK:
            yield f"upstreams.{name} sends its password unencrypted to {upstream.url}. Use https if possible."


def missing_programs(upstreams: Mapping[str, UpstreamSettings]) -> Iterator[str]:
    """Yield a warning for each password program that can't be run."""
    for name, upstream in upstreams.items():
        programs = {each.program for each in upstream.credentials if each.program}
        for program in sorted(program for program in programs if shutil.which(program) is None):
            text = f"gets its password from {program}, which can't be run"
            yield f"upstreams.{name} {text}. Install the program, or fix its name."
