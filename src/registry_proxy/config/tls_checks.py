"""What the keys of `[tls]` must be together."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from registry_proxy.config.checks import read_secret
from registry_proxy.config.problems import Problem
from registry_proxy.config.settings import ServerSettings, TlsSettings
from registry_proxy.config.types import check_hmac_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pydantic import BaseModel

    from registry_proxy.config.layers import Layer
    from registry_proxy.config.units import Address

# Its terms are known without asking.
_LETS_ENCRYPT = ("letsencrypt", "letsencrypt-staging")


def checked_tls(
    section: BaseModel | None, hostnames: Sequence[str], layer: Layer, problems: list[Problem]
) -> TlsSettings | None:
    """The settings with the secret from its file; None when TLS is off. `hostnames` are the upstreams'."""
    assert isinstance(section, TlsSettings)
    written = [key for key in layer if key[0] == "tls"]
    if not written:
        return None
    found = list(_contradictions(section, hostnames))
    for name, text, remedy in found:
        key = ("tls", name)
        origin = layer[key if key in layer else written[0]].origin
        problems.append(Problem(origin, ".".join(key), text, remedy))
    if section.eab_hmac_key_file is None or found:
        return section
    key = ("tls", "eab_hmac_key_file")
    secret = read_secret(section.eab_hmac_key_file, check_hmac_key, key, layer, problems)
    return section.model_copy(update={"eab_hmac_key": secret})


def _contradictions(tls: TlsSettings, hostnames: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Key, what is wrong, and what to do."""
    if tls.acme is None and not tls.cert and not tls.key:
        remedy = 'Set cert and key, or acme = "letsencrypt"; or delete [tls] to serve without TLS.'
        yield "acme", "is missing, and so is cert", remedy
    elif tls.acme is None:
        yield from _unpaired_files(tls)
    else:
        yield from _acme_contradictions(tls, hostnames)


def _unpaired_files(tls: TlsSettings) -> Iterator[tuple[str, str, str]]:
    if len(tls.cert) != len(tls.key):
        text = f"names {len(tls.key)} files, and cert {len(tls.cert)}"
        yield "key", text, "Give the key of each certificate, in the same order."


def _acme_contradictions(tls: TlsSettings, hostnames: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    if tls.cert or tls.key:
        yield "acme", "is set beside cert or key", "Keep own files, or acme."
    if not hostnames and not tls.hostnames:
        remedy = "Set tls.hostnames, or a hostname in each [upstreams.NAME]."
        yield "hostnames", "names no host to get a certificate for", remedy
    if tls.acme in _LETS_ENCRYPT and not tls.agree_tos:
        remedy = "Read https://letsencrypt.org/repository/ and set agree_tos = true."
        yield "agree_tos", "is not true, but Let's Encrypt requires consent to its terms", remedy
    has_key = tls.eab_hmac_key is not None or tls.eab_hmac_key_file is not None
    if tls.eab_hmac_key is not None and tls.eab_hmac_key_file is not None:
        yield "eab_hmac_key_file", "is set beside eab_hmac_key", "Keep one of the two."
    elif has_key != (tls.eab_kid is not None):
        missing = "eab_kid" if has_key else "eab_hmac_key"
        yield missing, "is missing: an external account takes eab_kid and eab_hmac_key", f"Set {missing}."
    if tls.ca_root is not None and not os.access(tls.ca_root, os.R_OK):
        yield "ca_root", f"can't read {tls.ca_root}", "Mend the path or the file's owner."
    if tls.challenges == ("http-01",) and not tls.http:
        yield "http", "names no address, but http-01 is answered on port 80", 'Set http = ["[::]:80"].'


def address_clashes(sections: Mapping[str, BaseModel | None], layer: Layer) -> Iterator[Problem]:
    """An address with two uses, or a server that listens nowhere."""
    server, tls = sections["server"], sections["tls"]
    assert isinstance(server, ServerSettings)
    if not isinstance(tls, TlsSettings):
        if not server.listen:
            remedy = 'Write it like ["127.0.0.1:5000"]; only with TLS it can be empty.'
            yield Problem(layer["server", "listen"].origin, "server.listen", "names no address", remedy)
        return
    uses = {"server.listen": server.listen, "tls.listen": tls.listen, "tls.http": tls.http}
    owners: dict[Address, str] = {}
    for use, addresses in uses.items():
        for address in addresses:
            owner = owners.setdefault(address, use)
            if owner != use and address.port:
                # Defaults don't clash, so at least one of the two was written.
                origin = next(layer[key].origin for key in (_key(use), _key(owner)) if key in layer)
                yield Problem(origin, use, f"{address} is in {owner} already", "Change one of the two.")


def idle_client_ca(sections: Mapping[str, BaseModel | None], layer: Layer) -> Iterator[Problem]:
    """Client certificates are asked for where there is no TLS to show them in."""
    if sections["tls"] is None and (entry := layer.get(("access", "client_ca"))) is not None:
        remedy = "Add [tls], or take access.client_ca out."
        yield Problem(entry.origin, "access.client_ca", "asks for certificates, but TLS is off", remedy)


def _key(use: str) -> tuple[str, str]:
    section, _, name = use.partition(".")
    return section, name
