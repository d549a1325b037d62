"""Parsing and formatting of durations, byte sizes and addresses. Pure."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
# With and without the unit "B": 100G is 100GB, as 100Gi is 100GiB (the notation of Kubernetes).
_BYTES: dict[str, int] = {
    "": 1,
    "b": 1,
    **{f"{prefix}{b}": 1000**power for power, prefix in enumerate("kmgtp", 1) for b in ("", "b")},
    **{f"{prefix}i{b}": 1024**power for power, prefix in enumerate("kmgtp", 1) for b in ("", "b")},
}
_DURATION_PART = re.compile(r"(\d{1,9})(ms|[smhdw])", re.ASCII)
_DURATION = re.compile(rf"(?:{_DURATION_PART.pattern})+", re.ASCII)
_SIZE = re.compile(r"(\d{1,19}(?:\.\d{1,6})?)\s*([a-z]*)", re.ASCII | re.IGNORECASE)
_ADDRESS = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9.-]+)):(\d{1,5})", re.ASCII | re.IGNORECASE)


class InvalidValueError(ValueError):
    """An invalid value: `text` is the reason, `remedy` the valid form."""

    def __init__(self, text: str, remedy: str) -> None:
        super().__init__(f"{text}. {remedy}")
        self.text = text
        self.remedy = remedy


def parse_duration(text: str | int) -> float:
    """Return the seconds in `30s`, `1h30m`, `7d` or a plain number of seconds. Raise InvalidValueError."""
    text = str(text).strip()
    if text.isascii() and text.isdigit():
        return float(text)
    if not _DURATION.fullmatch(text):
        raise InvalidValueError("is not a duration", 'Write it like "30s", "5m", "12h" or "7d".')
    return float(sum(int(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(text)))


def format_duration(seconds: float) -> str:
    """Return the shortest text that `parse_duration` reads as `seconds` (to the millisecond)."""
    left = round(seconds * 1000)
    parts = []
    for unit in ("d", "h", "m", "s", "ms"):
        count, left = divmod(left, round(_SECONDS[unit] * 1000))
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def parse_size(text: str | int) -> int:
    """Return the bytes in `100GiB`, `1.5 TB`, `100G` or a plain number of bytes. Raise InvalidValueError."""
    match = _SIZE.fullmatch(str(text).strip())
    unit = _BYTES.get(match[2].lower()) if match else None
    if match is None or unit is None:
        raise InvalidValueError("is not a size", 'Write it like "500GB", "100GiB" or a number of bytes.')
    number = match[1]
    return round(float(number) * unit) if "." in number else int(number) * unit


def format_size(size: int) -> str:
    """Return the text with the largest binary unit that `parse_size` reads as exactly `size`."""
    for prefix in "PTGMK":
        unit = _BYTES[f"{prefix.lower()}ib"]
        if size and size % unit == 0:
            return f"{size // unit}{prefix}iB"
    return str(size)


@dataclass(frozen=True, slots=True)
class Address:
    """An address to listen on: an IP address or a host name, and a port (0: any free one)."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Parse `HOST:PORT`, with an IPv6 host in brackets. Raise InvalidValueError."""
        match = _ADDRESS.fullmatch(text.strip())
        if match is None or int(match[3]) > 65535 or not _is_host(match[1], match[2]):
            raise InvalidValueError(
                "is not an address to listen on", 'Write it like "127.0.0.1:5000" or "[::]:5000".'
            )
        return cls(match[1] or match[2], int(match[3]))

    def overlaps(self, other: Address) -> bool:
        """Return whether one of the two includes the other, so that a server can't listen on both."""
        if self.port != other.port or not self.port:
            return False
        hosts = {_numeric(self.host), _numeric(other.host)}
        ipv4 = not any(":" in host for host in hosts)
        return len(hosts) == 1 or "::" in hosts or (ipv4 and "0.0.0.0" in hosts)  # noqa: S104

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _numeric(host: str) -> str:
    """Return an IP address in its shortest form. Of host names, only localhost is known here."""
    if host.lower() == "localhost":
        return "127.0.0.1"
    return str(ipaddress.ip_address(host)) if ":" in host else host.lower()


def _is_host(ipv6: str | None, other: str) -> bool:
    if ipv6 is not None:
        return _is_ip(ipv6, 6)
    return bool(other.strip("0123456789.")) or _is_ip(other, 4)


def _is_ip(text: str, version: int) -> bool:
    try:
        return ipaddress.ip_address(text).version == version
    except ValueError:
        return False
