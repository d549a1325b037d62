"""Questions about an ACME server, whose directory is read at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from registry_proxy.commands.config.prompter import MissingAnswerError
from registry_proxy.commands.config.runner import unreadable
from registry_proxy.commands.config.validators import is_a, optional
from registry_proxy.config.types import ACME_PRESETS, AcmeServer, Email, HmacKey, KeyIdentifier
from registry_proxy.tls.issuer import CertificateAuthority, IssueError

if TYPE_CHECKING:
    from registry_proxy.commands.config.context import Context
    from registry_proxy.config.settings import TlsSettings

ACME = "acme"
_TERMS = "https://letsencrypt.org/repository/"


def ask_acme(context: Context, kind: str, hostnames: list[str]) -> bool:
    """Ask all about the CA. Return False if the user does not agree to its terms, and wants another one."""
    if not hostnames:
        raise MissingAnswerError(f"--certificates {kind} requires host names: set --domain or --hostname.")
    tls, preset = _old(context), kind in ACME_PRESETS
    if preset:
        _set(context, "acme", kind)
        terms = f"Do you agree to Let's Encrypt's terms of service ({_TERMS})?"
    else:
        before = tls.acme if tls and tls.acme and tls.acme not in ACME_PRESETS else ""
        root = context.flags.acme_root or (tls.ca_root if tls else None)
        _ask_server(context, kind, before, str(root or ""))
        terms = "Do you agree to its terms of service, if there are any?"
    agreed = context.flags.agree_tos or context.prompter.confirm(
        terms, default=tls.agree_tos if tls else False
    )
    _set(context, "agree_tos", agreed or None)
    if agreed or not preset:
        return True
    text = f"Let's Encrypt requires your consent to {_TERMS}."
    if not context.prompter.interactive:
        raise MissingAnswerError(f"{text} Add --agree-tos.")
    context.prompter.print(f"{text} Choose another source of certificates, or agree.")
    return False


def _ask_server(context: Context, kind: str, before: str, root: str, *, again: bool = False) -> None:
    """Ask for the server and its account. `before` and `root` are the proposals for its URL and root certificate.

    `again`: the flags were of no use.
    """
    flags, tls, prompter = context.flags, _old(context), context.prompter
    server = kind
    if kind == ACME:
        question = "The URL of its directory, such as https://ca.example.com/acme/acme/directory:"
        server = prompter.text(question, before, is_a(AcmeServer), "--certificates URL")
    elif problem := is_a(AcmeServer)(server):
        raise MissingAnswerError(f"--certificates {server}: {problem}")
    _set(context, "acme", server)
    root = _ask_root(context, root, again=again)
    path = Path(context.absolute(root)) if root else None
    _set(context, "ca_root", str(path) if path else None)
    problem = directory_problem(server, path) if flags.check else None
    if problem and not context.accept(problem):
        _ask_server(context, ACME, server, root, again=True)
        return
    email = flags.email or prompter.text(
        "An e-mail address for the account (empty: none):",
        (tls.email if tls else None) or "",
        optional(is_a(Email)),
        "--email",
    )
    _set(context, "email", email or None)
    _ask_external_account(context)


def _ask_root(context: Context, proposal: str, *, again: bool) -> str:
    def check(text: str) -> str | None:
        return unreadable(context, text)

    if context.flags.acme_root and not again:
        if problem := check(proposal):
            raise MissingAnswerError(f"--acme-root: {problem}")
        return proposal
    question = "A file with the CA's root certificate (empty: the system trusts it):"
    return context.prompter.text(question, proposal, optional(check), "--acme-root")


def directory_problem(server: str, root: Path | None) -> str | None:
    """Read the directory of an ACME server. Return the problem, if any."""
    from registry_proxy.tls.acme import read_directory  # noqa: PLC0415 - slow to load

    try:
        read_directory(CertificateAuthority(server, server, root=root))
    except IssueError as error:
        return str(error)
    return None


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


def _old(context: Context) -> TlsSettings | None:
    return context.old.tls if context.old else None


def _set(context: Context, name: str, value: object) -> None:
    context.answers.values["tls", name] = value
