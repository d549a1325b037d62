"""Types of values: how they are read from a file, checked and written."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, TypeGuard
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, SecretStr

from registry_proxy.config.units import (
    Address,
    InvalidValueError,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)
from registry_proxy.oci.reference import REPOSITORY_NAME

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = rf"{_LABEL}(?:\.{_LABEL})*"
_HOSTNAME = re.compile(_HOST, re.ASCII)
_AUTHORITY = rf"(?:{_HOST}|\[[0-9a-f:.]+\])(?P<port>:\d{{1,5}})?"
_REGISTRY = re.compile(_AUTHORITY, re.ASCII)
_URL = re.compile(rf"(https?://{_AUTHORITY})/?", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_EMAIL = re.compile(r"[^@\s,]+@[^@\s,]+", re.ASCII)
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)

_BASE64URL = re.compile(r"[A-Za-z0-9_-]+=*", re.ASCII)

# CAs with a short name, and the URLs of their ACME directories.
ACME_PRESETS = {
    "letsencrypt": "https://acme-v02.api.letsencrypt.org/directory",
    "letsencrypt-staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
}
CHALLENGES = ("tls-alpn-01", "http-01")


def _duration(value: object) -> float:
    return parse_duration(value if _is_string_or_number(value) else "")


def _size(value: object) -> int:
    return parse_size(value if _is_string_or_number(value) else "")


def _is_string_or_number(value: object) -> TypeGuard[str | int]:
    return isinstance(value, str | int) and not isinstance(value, bool)


def _strings(value: object, remedy: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidValueError("must be a list of strings", remedy)
    return value


def _addresses(value: object) -> tuple[Address, ...]:
    remedy = 'Write it like ["127.0.0.1:5000", "[::1]:5000"].'
    addresses = tuple(Address.parse(item) for item in _strings(value, remedy))
    if len(set(addresses)) < len(addresses):
        raise InvalidValueError("has an address twice", remedy)
    return addresses


def _not_empty(values: tuple[Address, ...]) -> tuple[Address, ...]:
    if not values:
        raise InvalidValueError("has no address", 'Write it like ["[::]:443"].')
    return values


def _as_strings(values: tuple[object, ...]) -> list[str]:
    return [str(value) for value in values]


def is_hostname(name: str) -> bool:
    """Return whether this is a host name in lower case (RFC 1123, section 2.1)."""
    return len(name) <= 253 and bool(_HOSTNAME.fullmatch(name))


def _hostname(value: str) -> str:
    name = value.lower().rstrip(".")
    if not is_hostname(name):
        raise InvalidValueError(
            "is not a host name", "Write it without scheme, port and path, and international names as xn--…"
        )
    return name


def _hostnames(value: object) -> tuple[str, ...]:
    return tuple(_hostname(item) for item in _strings(value, 'Write it like ["auth.example.com"].'))


def _registry(value: str) -> str:
    name = value.lower()
    match = _REGISTRY.fullmatch(name)
    # By this rule clients decide whether the first part of a name is a registry (distribution/reference, "domain").
    if match is None or ("." not in name and match["port"] is None and name != "localhost"):
        raise InvalidValueError(
            "is not a registry", 'Write it as in image names, like "ghcr.io" or "registry:5000".'
        )
    return name


def _url(value: str) -> str:
    match = _URL.fullmatch(value.lower())
    if "@" in value:
        raise InvalidValueError("contains credentials", "Use username and password instead.")
    if match is None:
        raise InvalidValueError(
            "is not the address of a registry",
            'Write it like "https://registry.example.com:5000", without a path.',
        )
    return match[1]


def _username(value: str) -> str:
    # RFC 7617, section 2: a user name with a colon can't be sent.
    if not value or ":" in value or _CONTROL.search(value):
        raise InvalidValueError(
            "is not a user name", "It must have at least one character, no colon and no control character."
        )
    return value


def _acme(value: str) -> str:
    url = urlsplit(value)
    # RFC 8555, section 6.1: ACME requires HTTPS.
    if value not in ACME_PRESETS and (url.scheme != "https" or not url.hostname or url.username is not None):
        known = ", ".join(f'"{name}"' for name in ACME_PRESETS)
        raise InvalidValueError(
            "is not an ACME server",
            f'Write {known}, or the URL of its directory, like "https://ca.example.com/acme/acme/directory".',
        )
    return value


def _email(value: str) -> str:
    if not _EMAIL.fullmatch(value):
        raise InvalidValueError("is not an e-mail address", 'Write it like "admin@example.com".')
    return value


def _key_identifier(value: str) -> str:
    if not value or _CONTROL.search(value):
        raise InvalidValueError("is not a key identifier", "Write it as the CA shows it.")
    return value


def check_hmac_key(value: SecretStr) -> SecretStr:
    """Return the key. Raise InvalidValueError if it is not valid (RFC 8555, section 7.3.4)."""
    if not _BASE64URL.fullmatch(value.get_secret_value()):
        raise InvalidValueError(
            "is not a key for external accounts", "Write it as the CA shows it, in base64url."
        )
    return value


def _paths(value: object) -> tuple[Path, ...]:
    texts = [value] if isinstance(value, str | Path) else value
    if not isinstance(texts, list) or not all(isinstance(item, str | Path) for item in texts):
        raise InvalidValueError(
            "must be a path or a list of paths", 'Write it like "/etc/tls/fullchain.pem".'
        )
    return tuple(_path(Path(item)) for item in texts)


def _challenges(value: object) -> tuple[str, ...]:
    remedy = f"Write {' or '.join(CHALLENGES)}, or both, in the order in which to try them."
    names = tuple(_strings(value, remedy))
    if not names or len(set(names)) < len(names) or not set(names) <= set(CHALLENGES):
        raise InvalidValueError("is not a list of supported challenges", remedy)
    return names


def _path(value: Path) -> Path:
    if not value.is_absolute():
        raise InvalidValueError("is not a path", 'Write it like "/var/lib/registry-proxy".')
    return value


def check_password(value: SecretStr) -> SecretStr:
    """Return the password. Raise InvalidValueError if it can't be sent."""
    if not value.get_secret_value() or _CONTROL.search(value.get_secret_value()):
        raise InvalidValueError(
            "is not a password",
            "It must have at least one character, no line break and no control character.",
        )
    return value


def _command(value: object) -> tuple[str, ...]:
    remedy = 'Write it as a list, like ["pass", "show", "registry"]; there is no shell.'
    arguments = tuple(_strings(value, remedy))
    if arguments and (not arguments[0] or any("\0" in argument for argument in arguments)):
        raise InvalidValueError("has no program", remedy)
    return arguments


def _helper(value: str) -> str:
    if not _HELPER.fullmatch(value):
        raise InvalidValueError(
            "is not a credential helper", 'Write "ecr-login" for the program docker-credential-ecr-login.'
        )
    return value


def check_repository_path(value: str) -> str:
    """Return the path. Raise InvalidValueError if no repository's name can begin with it."""
    if not REPOSITORY_NAME.fullmatch(value):
        raise InvalidValueError(
            "is not a repository's name or the beginning of one",
            'Write it like "acme" or "acme/private", in lower case, without the registry.',
        )
    return value


def _networks(value: object) -> tuple[IPv4Network | IPv6Network, ...]:
    remedy = 'Write it like ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"].'
    try:
        return tuple(ip_network(item.strip()) for item in _strings(value, remedy))
    except ValueError as error:
        if isinstance(error, InvalidValueError):
            raise
        raise InvalidValueError(f"has an invalid network: {error}", remedy) from None


def _names(value: object) -> tuple[str, ...]:
    return tuple(_strings(value, 'Write it like ["*.nodes.example.com"].'))


# As JSON, values are written as in the file.
Duration = Annotated[
    float, BeforeValidator(_duration), PlainSerializer(format_duration, return_type=str, when_used="json")
]
PositiveDuration = Annotated[Duration, Field(gt=0)]
ByteSize = Annotated[
    int, BeforeValidator(_size), PlainSerializer(format_size, return_type=str, when_used="json")
]
Addresses = Annotated[
    tuple[Address, ...],
    BeforeValidator(_addresses),
    PlainSerializer(_as_strings, return_type=list[str], when_used="json"),
]
SomeAddresses = Annotated[Addresses, AfterValidator(_not_empty)]
Networks = Annotated[
    tuple[IPv4Network | IPv6Network, ...],
    BeforeValidator(_networks),
    PlainSerializer(_as_strings, return_type=list[str], when_used="json"),
]
Names = Annotated[tuple[str, ...], BeforeValidator(_names)]
Hostname = Annotated[str, AfterValidator(_hostname)]
AbsolutePath = Annotated[Path, Field(strict=False), AfterValidator(_path)]
SomePaths = Annotated[tuple[Path, ...], BeforeValidator(_paths)]
Hostnames = Annotated[tuple[str, ...], BeforeValidator(_hostnames)]
Registry = Annotated[str, AfterValidator(_registry)]
Url = Annotated[str, AfterValidator(_url)]
Username = Annotated[str, AfterValidator(_username)]
Password = Annotated[SecretStr, AfterValidator(check_password)]
Command = Annotated[tuple[str, ...], BeforeValidator(_command)]
HelperName = Annotated[str, AfterValidator(_helper)]
AcmeServer = Annotated[str, AfterValidator(_acme)]
Email = Annotated[str, AfterValidator(_email)]
KeyIdentifier = Annotated[str, AfterValidator(_key_identifier)]
HmacKey = Annotated[SecretStr, AfterValidator(check_hmac_key)]
ChallengeNames = Annotated[tuple[str, ...], BeforeValidator(_challenges)]
