"""Construction of the upstreams' credentials from the settings."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from registry_proxy.upstream.auth.commands import CredentialHelper, Limits, PasswordCommand
from registry_proxy.upstream.auth.credentials import Credentials, CredentialsByPath, StaticCredentials
from registry_proxy.upstream.auth.expiring import ExpiringCredentials
from registry_proxy.upstream.auth.password_files import FileCredentials

if TYPE_CHECKING:
    from registry_proxy.aio.tasks import BackgroundTasks
    from registry_proxy.config import UpstreamSettings
    from registry_proxy.config.settings import CredentialSettings
    from registry_proxy.upstream.auth.credentials import CredentialProvider

# Run time limit of a password command or credential helper, in seconds.
_PROGRAM_TIMEOUT = 30.0
# The programs do not get the server's settings, which may be secrets.
_SETTINGS_PREFIX = "REGISTRY_PROXY_"
# The key under which `docker login` stores the credentials of Docker Hub.
_HUB = "registry-1.docker.io"
_HUB_SERVER = "https://index.docker.io/v1/"


def build_provider(name: str, settings: UpstreamSettings, background: BackgroundTasks) -> CredentialProvider:
    """Return the credentials of the upstream `name`. `background` runs programs when their passwords are needed."""
    general = _provider(f"upstreams.{name}", settings, settings, background)
    paths = {
        path: _provider(f'upstreams.{name}.paths."{path}"', credentials, settings, background)
        for path, credentials in settings.paths.items()
    }
    return CredentialsByPath(general, paths) if paths else general


def _provider(
    what: str, settings: CredentialSettings, upstream: UpstreamSettings, background: BackgroundTasks
) -> CredentialProvider:
    fetch = _program(settings, upstream)
    if fetch is not None:
        return ExpiringCredentials(
            fetch, settings.password_lifetime, what=what, background=background, clock=time.monotonic
        )
    if settings.username is None or settings.password is None:
        return StaticCredentials()
    credentials = Credentials(settings.username, settings.password.get_secret_value())
    if settings.password_file is not None:
        return FileCredentials(credentials, settings.password_file)
    return StaticCredentials(credentials)


def _program(
    settings: CredentialSettings, upstream: UpstreamSettings
) -> PasswordCommand | CredentialHelper | None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS_PREFIX)}
    limits = Limits(_PROGRAM_TIMEOUT, environ)
    if settings.credential_helper is not None:
        return CredentialHelper(settings.credential_helper, _server(upstream), limits)
    if settings.username is not None and settings.password_command:
        return PasswordCommand(settings.username, settings.password_command, limits)
    return None


def _server(upstream: UpstreamSettings) -> str:
    """Return the server name for a credential helper: the host that receives the credentials."""
    host = urlsplit(upstream.url).netloc
    return _HUB_SERVER if host == _HUB else host
