"""Checks of the certificates that the server sends for its host names."""

from __future__ import annotations

import ssl
import time
from functools import partial
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.x509.oid import NameOID

from registry_proxy.commands.doctor.findings import Check, Finding, fail, ok, warn
from registry_proxy.commands.formatting import local_time
from registry_proxy.commands.probe import ProbeError, probe_listener, unverified_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from registry_proxy.config import Settings
    from registry_proxy.config.settings import TlsSettings

_DAY = 86400.0
# Less than before any renewal: an ACME certificate is renewed in the last third of its lifetime.
_LATE = 14 * _DAY
_LOG = "The server's log contains the reason: `journalctl -u registry-proxy`."


def certificate_checks(settings: Settings) -> Iterator[Check]:
    """Yield a check for each host name if TLS is on."""
    if settings.tls is None:
        return
    for name in settings.hostnames:
        yield Check(f"certificate {name}", partial(check_certificate, name, settings, settings.tls))


async def check_certificate(name: str, settings: Settings, tls: TlsSettings) -> AsyncIterator[Finding]:
    """Check the certificate that a client receives for this host name."""
    subject, reason = f"certificate {name}", _reason(name, settings)
    try:
        certificate = await _fetch(name, settings, tls, unverified_context())
    except ssl.SSLError as error:
        yield fail(subject, f"the server sends none: {error.reason or error}", reason)
        return
    except ProbeError as error:
        yield fail(subject, f"there is no connection to the server: {error}", "Start the server first.")
        return
    leaf = x509.load_der_x509_certificate(certificate)
    yield _judge(subject, name, leaf, time.time(), reason)
    yield await _trust(subject, name, settings, tls)


def _reason(name: str, settings: Settings) -> str:
    """Return why the server has no new certificate: the CA's error message and a fix, or where to find them."""
    # Imports the server's TLS, which most configurations do not use.
    from registry_proxy.service.wiring.tls import last_failure  # noqa: PLC0415

    failure = last_failure(settings, name)
    if failure is None:
        return _LOG
    return (
        f"Attempt {failure.failures} to obtain one failed ({local_time(failure.failed_at)}): {failure.problem}"
        f" The next attempt is due at {local_time(failure.retry_at)};"
        " `systemctl reload registry-proxy` retries at once."
    )


def _judge(subject: str, name: str, leaf: x509.Certificate, now: float, reason: str) -> Finding:
    start, stop = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
    left = f"{(stop - now) / _DAY:.0f} days left"
    names = _names(leaf)
    if not any(_covers(each, name) for each in names):
        return fail(
            subject, f"issued for {', '.join(names) or 'no host name'}", f"Get one for {name}. {reason}"
        )
    if now >= stop:
        return fail(subject, f"expired on {leaf.not_valid_after_utc:%Y-%m-%d}", f"Replace it. {reason}")
    if now < start:
        text = f"not valid before {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        return fail(subject, text, "Check this machine's clock.")
    if stop - now < min(_LATE, (stop - start) / 4):
        return warn(
            subject,
            f"{left}; it should have been renewed",
            f"Renew it. {reason}",
        )
    return ok(subject, f"{left}, from {_issuer(leaf)}")


async def _trust(subject: str, name: str, settings: Settings, tls: TlsSettings) -> Finding:
    context = ssl.create_default_context()
    if tls.ca_root is not None:
        # Like Go's clients, trust what is in the file: it may contain an intermediate instead of a root.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(tls.ca_root)
    try:
        await _fetch(name, settings, tls, context)
    except ssl.SSLCertVerificationError as error:
        return _untrusted(subject, tls, error.verify_message)
    except (ssl.SSLError, ProbeError) as error:
        return fail(subject, f"a client that verifies it gets no response: {error}", _LOG)
    return ok(subject, "trusted, with its chain")


def _untrusted(subject: str, tls: TlsSettings, reason: str) -> Finding:
    chain = "Otherwise the file lacks the intermediates (certbot: fullchain.pem)."
    if tls.ca_root is not None:
        text = f"not issued by the CA in tls.ca_root, and this machine does not trust it: {reason}"
        remedy = "Clients need its CA: pass it with `registry-proxy client … --ca`, instead of tls.ca_root."
        return warn(subject, text, remedy)
    remedy = f"Correct for a private CA: pass its certificate to the clients (`registry-proxy client … --ca`). {chain}"
    return warn(subject, f"this machine does not trust it: {reason}", remedy)


async def _fetch(name: str, settings: Settings, tls: TlsSettings, context: ssl.SSLContext) -> bytes:
    """Return the certificate (DER). Raise ProbeError or ssl.SSLError."""
    response = await probe_listener(tls.listen[0], settings, tls=context, name=name)
    assert response.certificate is not None, "every TLS server sends one"
    return response.certificate


def _names(leaf: x509.Certificate) -> list[str]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [name.lower() for name in names.get_values_for_type(x509.DNSName)]


def _covers(pattern: str, name: str) -> bool:
    """Return whether the name matches. A wildcard matches one label (RFC 9525, section 6.3)."""
    return pattern == name or (pattern.startswith("*.") and pattern[1:] == f".{name.partition('.')[2]}")


def _issuer(leaf: x509.Certificate) -> str:
    for kind in (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME):
        if found := leaf.issuer.get_attributes_for_oid(kind):
            return str(found[0].value)
    return "an unnamed CA"
