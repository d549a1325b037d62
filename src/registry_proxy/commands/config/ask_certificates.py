"""Questions about certificates, and about the addresses to listen on."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cryptography import x509

from registry_proxy.commands.config.prompter import MissingAnswerError
from registry_proxy.commands.config.validators import is_a, optional, split
from registry_proxy.config.types import ACME_PRESETS, AcmeServer, Email, HmacKey, KeyIdentifier
from registry_proxy.config.units import Address, InvalidValueError

if TYPE_CHECKING:
    from registry_proxy.commands.config.context import Context
    from registry_proxy.commands.config.prompter import Check
    from registry_proxy.config.settings import TlsSettings

_ACME, _FILES, NONE = "acme", "files", "none"
_KEYS = ("cert", "key", "acme", "email", "agree_tos", "ca_root", "eab_kid", "eab_hmac_key_file")
_TERMS = "https://letsencrypt.org/repository/"


def ask_certificates(context: Context, hostnames: list[str]) -> str:
    """Ask for the source of certificates, and return it: a name of ACME_PRESETS, `acme`, `files` or `none`."""
    given = context.flags.certificates
    kind = given or _ask_kind(context, hostnames)
    if kind not in (*ACME_PRESETS, _FILES, NONE):
        kind = _ACME
    for key in _KEYS:
        _set(context, key, None)
    context.answers.secrets["tls", "eab_hmac_key"] = None
    if kind == NONE:
        context.answers.without_tls = True
        _ask_listen(context, hostnames)
        return NONE
    if kind == _FILES:
        _ask_files(context)
    else:
        _ask_acme(context, kind, hostnames)
    upstream_hosts = {
        context.answers.values["upstreams", name, "hostname"] for name in context.answers.registries
    }
    _set(context, "hostnames", [host for host in hostnames if host not in upstream_hosts] or None)
    if context.flags.listen:
        _set(context, "listen", split(context.flags.listen))
    if context.old is not None and context.old.tls is None:
        # The old value is the URL of the reverse proxy in front.
        context.answers.values["server", "public_url"] = None
    return kind


def _ask_kind(context: Context, hostnames: list[str]) -> str:
    choices = {
        "letsencrypt": "Let's Encrypt: public host names, reachable from the internet on port 443 or 80",
        "letsencrypt-staging": "Let's Encrypt's staging server: no client trusts its certificates",
        _ACME: "Step-CA or another ACME server",
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
    return _FILES if tls.acme is None else tls.acme if tls.acme in ACME_PRESETS else _ACME


def _ask_acme(context: Context, kind: str, hostnames: list[str]) -> None:
    if not hostnames:
        raise MissingAnswerError(f"--certificates {kind} requires host names: set --domain or --hostname.")
    if kind == _ACME:
        _ask_acme_server(context)
        terms = "Do you agree to its terms of service, if there are any?"
    else:
        _set(context, "acme", kind)
        terms = f"Do you agree to Let's Encrypt's terms of service ({_TERMS})?"
    tls = _old(context)
    agreed = context.flags.agree_tos or context.prompter.confirm(
        terms, default=tls.agree_tos if tls else False
    )
    if not agreed and kind != _ACME:
        raise MissingAnswerError(f"Let's Encrypt requires your consent to {_TERMS}. Add --agree-tos.")
    _set(context, "agree_tos", agreed or None)


def _ask_acme_server(context: Context) -> None:
    flags, tls, prompter = context.flags, _old(context), context.prompter
    before = tls.acme if tls and tls.acme and tls.acme not in ACME_PRESETS else ""
    server = flags.certificates or before
    if flags.certificates in (None, _ACME):
        question = "The URL of its directory, such as https://ca.example.com/acme/acme/directory:"
        server = prompter.text(question, before, is_a(AcmeServer), "--certificates URL")
    elif problem := is_a(AcmeServer)(server):
        raise MissingAnswerError(f"--certificates {server}: {problem}")
    _set(context, "acme", server)
    root = str(flags.acme_root or (tls.ca_root if tls else None) or "")
    if not flags.acme_root:
        question = "A file with the CA's root certificate (empty: the system trusts it):"
        root = prompter.text(
            question, root, optional(lambda text: _file_problem(context, text)), "--acme-root"
        )
    _set(context, "ca_root", context.absolute(root) if root else None)
    email = flags.email or prompter.text(
        "An e-mail address for the account (empty: none):",
        (tls.email if tls else None) or "",
        optional(is_a(Email)),
        "--email",
    )
    _set(context, "email", email or None)
    _ask_external_account(context)


def _ask_external_account(context: Context) -> None:
    """Ask for an external account binding (RFC 8555, section 7.3.4)."""
    flags, tls, prompter = context.flags, _old(context), context.prompter
    before = (tls.eab_kid if tls else None) or ""
    kid = flags.eab_kid or prompter.text(
        "The key identifier of an external account (empty: none):",
        before,
        optional(is_a(KeyIdentifier)),
        "--eab-kid",
    )
    _set(context, "eab_kid", kid or None)
    if not kid:
        return
    if flags.eab_key_file:
        _set(context, "eab_hmac_key_file", context.absolute(flags.eab_key_file))
        return
    if (
        tls is not None
        and kid == before
        and (not prompter.interactive or prompter.confirm("Keep its key?", default=True))
    ):
        _keep_key(context, tls)
        return
    context.answers.secrets["tls", "eab_hmac_key"] = prompter.secret("Its HMAC key:", is_a(HmacKey))


def _keep_key(context: Context, tls: TlsSettings) -> None:
    del context.answers.values["tls", "eab_hmac_key_file"], context.answers.secrets["tls", "eab_hmac_key"]
    assert tls.eab_hmac_key is not None


def _ask_files(context: Context) -> None:
    flags, tls, prompter = context.flags, _old(context), context.prompter
    before = {"cert": tls.cert if tls else (), "key": tls.key if tls else ()}
    questions = {
        "cert": "Certificate files, with their intermediates:",
        "key": "Their key files, in the same order:",
    }
    for name, question in questions.items():
        given = flags.cert if name == "cert" else flags.key
        default = ", ".join(map(str, given or before[name]))
        text = default if given else prompter.text(question, default, _files(context), f"--{name}")
        _set(context, name, [context.absolute(path) for path in split(text)])
    certificates, keys = (context.answers.values["tls", name] for name in questions)
    problem = _pairs_problem(certificates, keys) if context.flags.check else None
    if problem and not context.accept(problem):
        _ask_files(context)


def _files(context: Context) -> Check:
    def check(text: str) -> str | None:
        problems = [problem for path in split(text) if (problem := _file_problem(context, path))]
        return problems[0] if problems else None if split(text) else "Enter at least one file."

    return check


def _file_problem(context: Context, text: str) -> str | None:
    try:
        Path(context.absolute(text)).read_bytes()
    except OSError as error:
        return f"{context.absolute(text)}: {error.strerror}."
    return None


def _pairs_problem(certificates: list[str], keys: list[str]) -> str | None:
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
    return None


def _ask_listen(context: Context, hostnames: list[str]) -> None:
    old = context.old
    before = ", ".join(map(str, old.server.listen)) if old and old.server.listen else "127.0.0.1:5000"
    question = (
        "Where to listen without TLS? ([::]:5000: all networks, 127.0.0.1:5000: this machine and its proxy)"
    )
    text = context.flags.listen or context.prompter.text(question, before, _addresses_problem, "--listen")
    if problem := _addresses_problem(text):
        raise MissingAnswerError(f"--listen {text}: {problem}")
    context.answers.values["server", "listen"] = split(text)
    _set_public_url(context, hostnames, split(text))


def _set_public_url(context: Context, hostnames: list[str], addresses: list[str]) -> None:
    """Set the URL of a host name that serves all registries: no other key contains it."""
    hosted = {context.answers.values["upstreams", name, "hostname"] for name in context.answers.registries}
    shared = next((host for host in hostnames if host not in hosted), None)
    old = urlsplit((context.old.server.public_url if context.old else None) or "").hostname
    if shared is None and old not in hosted:
        context.answers.values["server", "public_url"] = None
    elif shared is not None and shared != old:
        port = Address.parse(addresses[0]).port
        url = f"https://{shared}" if listens_locally(addresses) else f"http://{shared}:{port}"
        context.answers.values["server", "public_url"] = url


def _addresses_problem(text: str) -> str | None:
    try:
        return None if [Address.parse(item) for item in split(text)] else "Enter at least one address."
    except InvalidValueError as error:
        return f"This {error}"


def listens_locally(addresses: list[str]) -> bool:
    """Return whether only this machine can reach these addresses."""
    return all(address.startswith(("127.", "localhost:", "[::1]:")) for address in addresses)


def _old(context: Context) -> TlsSettings | None:
    return context.old.tls if context.old else None


def _set(context: Context, name: str, value: object) -> None:
    context.answers.values["tls", name] = value
