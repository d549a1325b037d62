"""What a client needs to be let in and to trust the server: told, read from files, and held against the settings."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from registry_proxy.commands.client.plan import Identity
from registry_proxy.commands.client.server import ClientError

if TYPE_CHECKING:
    from pathlib import Path

    from registry_proxy.commands.client.plan import Login
    from registry_proxy.config import Settings

_BEGIN = "-----BEGIN CERTIFICATE-----"


def needs_login(settings: Settings) -> bool:
    """Whether someone without a client certificate must log in to pull."""
    upstreams = settings.upstreams.values()
    return settings.access.htpasswd is not None or any(upstream.access_htpasswd for upstream in upstreams)


def check_admission(settings: Settings, login: Login | None, identity: Identity | None) -> None:
    """Raise ClientError when a client with these would not be let in."""
    certificates = settings.access.client_ca is not None
    logins = needs_login(settings)
    how = [
        *(["--username USER and --password-file FILE or --password-stdin"] if logins else []),
        *(["--client-cert FILE and --client-key FILE"] if certificates else []),
    ]
    if how and not (logins and login) and not (certificates and identity):
        raise ClientError(
            f"this server lets in only clients that identify themselves. Give {', or '.join(how)}."
        )


def read_ca(settings: Settings, path: Path | None) -> str | None:
    """The authority that clients must be told of: the one given, or else that of a private ACME server."""
    path = path or (settings.tls.ca_root if settings.tls else None)
    if path is None:
        return None
    text = _read(path)
    if _BEGIN not in text:
        raise ClientError(f"{path} holds no certificate in PEM.")
    return text


def read_identity(certificate: Path | None, key: Path | None) -> Identity | None:
    """The client certificate and its key, which must fit. Raises ClientError."""
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise ClientError("--client-cert and --client-key go together.")
    texts = _read(certificate), _read(key)
    try:
        ssl.create_default_context().load_cert_chain(certificate, key, password=lambda: "")
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or str(error)
        raise ClientError(
            f"{certificate} and {key} are no certificate with its unencrypted key: {reason}."
        ) from None
    return Identity(*texts)


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise ClientError(f"can't read {path}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ClientError(f"{path} is not PEM.") from None
