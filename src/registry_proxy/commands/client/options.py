"""Options of `registry-proxy client`: the client's credentials, compared to the settings, and the machine to change."""

from __future__ import annotations

import getpass
import ssl
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry_proxy.commands.client.endpoints import ClientError, server_of
from registry_proxy.commands.client.machine import Machine
from registry_proxy.commands.client.planner import ClientCertificate, ClientInputs, Login
from registry_proxy.commands.common import UsageError
from registry_proxy.commands.password_input import checked_password, password_from_stdin, read_password

if TYPE_CHECKING:
    from pathlib import Path

    from registry_proxy.config import Settings

_BEGIN = "-----BEGIN CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """The client's credentials, its address of the server, and the extent of its files."""

    server: str | None
    ca: Path | None
    certificate: Path | None
    key: Path | None
    username: str | None
    password_file: Path | None
    password_stdin: bool
    everything: bool
    user: bool

    def inputs(self, settings: Settings, home: str) -> ClientInputs:
        """Read the inputs of the client's files. Raise ClientError, PasswordError or UsageError."""
        login, identity = self._login(), _read_identity(self.certificate, self.key)
        _check_admission(settings, login, identity)
        server, ca = server_of(settings, self.server), _read_ca(settings, self.ca)
        return ClientInputs(server, home, ca, identity, login, self.user, self.everything)

    def _login(self) -> Login | None:
        if self.username is None:
            if self.password_file or self.password_stdin:
                raise UsageError("a password requires --username.")
            return None
        if not self.username or ":" in self.username:
            raise UsageError("--username requires at least one character, and no colon.")
        return Login(self.username, self._password())

    def _password(self) -> str:
        if self.password_file and self.password_stdin:
            raise UsageError("--password-file and --password-stdin exclude each other.")
        if self.password_file:
            return read_password(self.password_file)
        if self.password_stdin:
            return password_from_stdin()
        if sys.stdin.isatty():
            return checked_password(getpass.getpass(f"Password of {self.username}: "), "this")
        raise UsageError("--username requires --password-file or --password-stdin, or a terminal.")


@dataclass(frozen=True, slots=True)
class Target:
    """The machine to change."""

    ssh: str | None
    ssh_options: tuple[str, ...]
    sudo: bool

    def machine(self) -> Machine:
        """Return the machine. Raise UsageError for options that exclude each other."""
        if self.ssh is None:
            if self.sudo or self.ssh_options:
                raise UsageError(
                    "--sudo and --ssh-options require --ssh. For this machine: sudo registry-proxy client …"
                )
            return Machine(["sh"], "this machine")
        if self.ssh.startswith("-"):
            raise UsageError(f"{self.ssh} is not a host.")
        shell = ["sudo", "-n", "sh"] if self.sudo else ["sh"]
        return Machine(["ssh", "-T", *self.ssh_options, self.ssh, *shell], self.ssh)


def _requires_login(settings: Settings) -> bool:
    """Return whether clients without a certificate must log in to pull."""
    upstreams = settings.upstreams.values()
    return settings.access.htpasswd is not None or any(upstream.access_htpasswd for upstream in upstreams)


def _check_admission(settings: Settings, login: Login | None, identity: ClientCertificate | None) -> None:
    """Raise ClientError if the server would reject a client with these credentials."""
    certificates = settings.access.client_ca is not None
    logins = _requires_login(settings)
    options = [
        *(["--username USER and --password-file FILE or --password-stdin"] if logins else []),
        *(["--client-cert FILE and --client-key FILE"] if certificates else []),
    ]
    if options and not (logins and login) and not (certificates and identity):
        raise ClientError(f"this server requires credentials from every client. Add {', or '.join(options)}.")


def _read_ca(settings: Settings, path: Path | None) -> str | None:
    """Return the CA to install on clients: the one in `path`, then that of a private ACME server, if any."""
    path = path or (settings.tls.ca_root if settings.tls else None)
    if path is None:
        return None
    text = _read(path)
    if _BEGIN not in text:
        raise ClientError(f"{path} contains no certificate in PEM.")
    return text


def _read_identity(certificate: Path | None, key: Path | None) -> ClientCertificate | None:
    """Return the client certificate and its key, if any. Raise ClientError if they do not match."""
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise ClientError("--client-cert and --client-key require each other.")
    texts = _read(certificate), _read(key)
    try:
        ssl.create_default_context().load_cert_chain(certificate, key, password=lambda: "")
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or str(error)
        raise ClientError(
            f"{certificate} and {key} are not a certificate and its unencrypted key: {reason}."
        ) from None
    return ClientCertificate(*texts)


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise ClientError(f"can't read {path}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ClientError(f"{path} is not PEM.") from None
