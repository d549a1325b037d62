"""The certificates that the server shows, for each of its host names."""

from __future__ import annotations

import ssl
import time
from functools import partial
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.x509.oid import NameOID

from registry_proxy.commands.doctor.findings import Check, Finding, fail, ok, warn
from registry_proxy.commands.doctor.probe import PROXY_HEADER, AskError, ask_listener, trusting_anyone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from registry_proxy.config import Settings
    from registry_proxy.config.settings import TlsSettings

_DAY = 86400.0
# Later than any renewal: those of an ACME server come in the last third of a certificate's life.
_LATE = 14 * _DAY
_LOG = "Its log says what is in the way: `journalctl -u registry-proxy`"


def certificate_checks(settings: Settings) -> Iterator[Check]:
    """A check for each host name, where the server has TLS."""
    if settings.tls is None:
        return
    preamble = PROXY_HEADER if settings.access.proxy_protocol else b""
    for name in settings.hostnames:
        yield Check(f"certificate {name}", partial(check_certificate, name, settings.tls, preamble))


async def check_certificate(name: str, tls: TlsSettings, preamble: bytes) -> AsyncIterator[Finding]:
    """What is shown to a client that asks for this name."""
    subject = f"certificate {name}"
    try:
        shown = await _shown(name, tls, preamble, trusting_anyone())
    except ssl.SSLError as error:
        yield fail(subject, f"the server shows none: {error.reason or error}", f"{_LOG}.")
        return
    except AskError as error:
        yield fail(subject, f"it can't be looked at: {error}", "Start the server first.")
        return
    leaf = x509.load_der_x509_certificate(shown)
    yield _judge(subject, name, leaf, time.time())
    yield await _trust(subject, name, tls, preamble)


def _judge(subject: str, name: str, leaf: x509.Certificate, now: float) -> Finding:
    start, stop = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
    left = f"{(stop - now) / _DAY:.0f} days left"
    names = _names(leaf)
    if not any(_covers(each, name) for each in names):
        return fail(
            subject, f"it is for {', '.join(names) or 'no host name'}", f"Get one for {name}. {_LOG}."
        )
    if now >= stop:
        return fail(subject, f"it expired on {leaf.not_valid_after_utc:%Y-%m-%d}", f"Replace it. {_LOG}.")
    if now < start:
        text = f"it is valid only from {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on"
        return fail(subject, text, "Check this machine's clock.")
    if stop - now < min(_LATE, (stop - start) / 4):
        return warn(
            subject,
            f"{left}; it should have been renewed",
            f"Renew it, or see why the server did not. {_LOG}.",
        )
    return ok(subject, f"{left}, from {_issuer(leaf)}")


async def _trust(subject: str, name: str, tls: TlsSettings, preamble: bytes) -> Finding:
    context = ssl.create_default_context()
    if tls.ca_root is not None:
        try:
            context.load_verify_locations(tls.ca_root)
        except OSError as error:
            remedy = "Mend the path, or let this user read the file: tls.ca_root."
            return fail(subject, f"can't read {tls.ca_root}: {error.strerror or error}", remedy)
    try:
        await _shown(name, tls, preamble, context)
    except ssl.SSLCertVerificationError as error:
        remedy = (
            "Right for an authority of your own: give clients its certificate (`registry-proxy client … --ca`). "
            "Otherwise the file lacks its intermediates (certbot: fullchain.pem)."
        )
        return warn(subject, f"this machine does not trust it: {error.verify_message}", remedy)
    except (ssl.SSLError, AskError) as error:
        return fail(subject, f"a client that verifies it gets no answer: {error}", f"{_LOG}.")
    return ok(subject, "trusted, with all of its chain")


async def _shown(name: str, tls: TlsSettings, preamble: bytes, context: ssl.SSLContext) -> bytes:
    """The certificate (DER). Raises AskError or ssl.SSLError."""
    reply = await ask_listener(tls.listen[0], name, tls=context, preamble=preamble)
    assert reply.certificate is not None, "a server of TLS shows one"
    return reply.certificate


def _names(leaf: x509.Certificate) -> list[str]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [name.lower() for name in names.get_values_for_type(x509.DNSName)]


def _covers(pattern: str, name: str) -> bool:
    """A wildcard stands for one label (RFC 9525, section 6.3)."""
    return pattern == name or (pattern.startswith("*.") and pattern[1:] == f".{name.partition('.')[2]}")


def _issuer(leaf: x509.Certificate) -> str:
    for kind in (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME):
        if found := leaf.issuer.get_attributes_for_oid(kind):
            return str(found[0].value)
    return "an unnamed authority"
