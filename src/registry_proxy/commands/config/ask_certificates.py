"""Questions about certificates."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509

from registry_proxy.commands.config.ask_acme import ACME, ask_acme
from registry_proxy.commands.config.ask_addresses import ask_listen, ask_tls_listen
from registry_proxy.commands.config.runner import unreadable
from registry_proxy.commands.config.validators import split
from registry_proxy.config.types import ACME_PRESETS

if TYPE_CHECKING:
    from registry_proxy.commands.config.context import Context
    from registry_proxy.commands.config.prompter import Check

_FILES, NONE = "files", "none"
_KEYS = ("cert", "key", "acme", "email", "agree_tos", "ca_root", "eab_kid", "eab_hmac_key_file")


def ask_certificates(context: Context, hostnames: list[str]) -> str:
    """Ask for the source of certificates, and return it: a name of ACME_PRESETS, `acme`, `files` or `none`."""
    given = context.flags.certificates
    kind = given or _ask_kind(context, hostnames)
    while not _ask_details(context, kind, hostnames):
        kind = _ask_kind(context, hostnames)
    if kind == NONE:
        context.answers.without_tls = True
        ask_listen(context, hostnames)
        return NONE
    context.answers.without_tls = False
    upstream_hosts = {
        context.answers.values["upstreams", name, "hostname"] for name in context.answers.registries
    }
    context.answers.values["tls", "hostnames"] = [
        host for host in hostnames if host not in upstream_hosts
    ] or None
    certificates = context.answers.values["tls", "cert"] or []
    ask_tls_listen(context, [*hostnames, *_names(certificates)])
    return kind


def _ask_details(context: Context, kind: str, hostnames: list[str]) -> bool:
    """Ask all about this source of certificates. Return False if the user wants another source."""
    for key in _KEYS:
        context.answers.values["tls", key] = None
    context.answers.secrets["tls", "eab_hmac_key"] = None
    if kind == _FILES:
        _ask_files(context)
    elif kind != NONE:
        return ask_acme(context, kind, hostnames)
    return True


def _ask_kind(context: Context, hostnames: list[str]) -> str:
    choices = {
        "letsencrypt": "Let's Encrypt: public host names, reachable from the internet on port 443 or 80",
        "letsencrypt-staging": "Let's Encrypt's staging server: no client trusts its certificates",
        ACME: "Step-CA or another ACME server",
        _FILES: "your certificate files",
        NONE: "none: a reverse proxy in front has certificates, or the server is unencrypted",
    }
    if not hostnames:
        choices = {kind: label for kind, label in choices.items() if kind in (_FILES, NONE)}
    default = _old_kind(context)
    if default is None:
        default = next(iter(choices)) if hostnames and context.prompter.interactive else NONE
    return context.prompter.choose("Certificates?", choices, default if default in choices else NONE)


def _old_kind(context: Context) -> str | None:
    if context.old is None:
        return None
    tls = context.old.tls
    if tls is None:
        return NONE
    return _FILES if tls.acme is None else tls.acme if tls.acme in ACME_PRESETS else ACME


def _ask_files(context: Context) -> None:
    flags, tls, prompter = context.flags, context.old.tls if context.old else None, context.prompter
    proposed = {"cert": flags.cert or (tls.cert if tls else ()), "key": flags.key or (tls.key if tls else ())}
    asked = {"cert": not flags.cert, "key": not flags.key}
    questions = {
        "cert": "Certificate files, with their intermediates:",
        "key": "Their key files, in the same order:",
    }
    while True:
        for name, question in questions.items():
            text = ", ".join(map(str, proposed[name]))
            if asked[name]:
                text = prompter.text(question, text, _files(context), f"--{name}")
            proposed[name] = tuple(Path(context.absolute(path)) for path in split(text))
            context.answers.values["tls", name] = list(map(str, proposed[name]))
        certificates, keys = (context.answers.values["tls", name] for name in questions)
        problem = _pairs_problem(context, certificates, keys) if flags.check else None
        if not problem or context.accept(problem):
            return
        asked = dict.fromkeys(questions, True)


def _files(context: Context) -> Check:
    def check(text: str) -> str | None:
        problems = [problem for path in split(text) if (problem := unreadable(context, path))]
        return problems[0] if problems else None if split(text) else "Enter at least one file."

    return check


def _pairs_problem(context: Context, certificates: list[str], keys: list[str]) -> str | None:
    """Return the problem with the files of certificates and keys, if any."""
    if len(certificates) != len(keys):
        return "The number of key files differs from the number of certificate files."
    for certificate, key in zip(certificates, keys, strict=True):
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
                certificate, key, password=lambda: ""
            )
            leaf = x509.load_pem_x509_certificate(Path(certificate).read_bytes())
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
            return f"{certificate} and {key} are not a certificate and its unencrypted key: {reason}."
        if leaf.not_valid_after_utc < datetime.datetime.now(datetime.UTC):
            return f"{certificate} expired on {leaf.not_valid_after_utc:%Y-%m-%d}."
        if problem := unreadable(context, certificate) or unreadable(context, key):
            return problem
    return None


def _names(certificates: list[str]) -> list[str]:
    """Return the host names of the certificates, without wildcards."""
    names = []
    for path in certificates:
        try:
            leaf = x509.load_pem_x509_certificate(Path(path).read_bytes())
            found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (OSError, ValueError, x509.ExtensionNotFound):
            continue
        names += [name for name in found.get_values_for_type(x509.DNSName) if not name.startswith("*")]
    return names
