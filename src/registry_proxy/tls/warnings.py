"""Warnings about readable certificates that clients may reject."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from registry_proxy.tls.certificates import Certificate

_WARN_BEFORE = 7 * 86400.0


def certificate_warnings(
    certificates: Sequence[Certificate], hostnames: Sequence[str], now: float
) -> Iterator[str]:
    """Yield a warning for each defect. `now` is seconds since the epoch, `hostnames` are those that clients use."""
    for certificate in certificates:
        if now >= certificate.validity.stop:
            yield f"{certificate}, has expired: clients reject it. Replace it."
        elif now < certificate.validity.start:
            yield f"{certificate}, is not valid yet. Check this machine's clock."
        elif now >= certificate.validity.stop - _WARN_BEFORE:
            yield f"{certificate}, expires soon. Replace it."
        if not certificate.complete:
            yield (
                f"{certificate}, lacks its intermediates: most clients reject it. "
                "Append them to the file (certbot: fullchain.pem)."
            )
    for hostname in hostnames:
        if not any(certificate.covers(hostname) for certificate in certificates):
            yield f"no certificate covers {hostname}: its clients can't connect. Add one to tls.cert and tls.key."
