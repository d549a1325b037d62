"""What is to be said about certificates that can be read, but that clients may not like."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from registry_proxy.tls.certificates import Certificate

_WARN_BEFORE = 7 * 86400.0


def certificate_warnings(
    certificates: Sequence[Certificate], hostnames: Sequence[str], now: float
) -> Iterator[str]:
    """A warning for each defect. `now` is in seconds since the epoch, `hostnames` are those that clients use."""
    for certificate in certificates:
        if now >= certificate.validity.stop:
            yield f"{certificate}, has expired: clients refuse it. Replace it."
        elif now < certificate.validity.start:
            yield f"{certificate}, is not valid yet. Check this machine's clock."
        elif now >= certificate.validity.stop - _WARN_BEFORE:
            yield f"{certificate}, expires soon. Replace it."
        if not certificate.complete:
            yield (
                f"{certificate}, comes without its intermediates: most clients can't trust it. "
                "Put them below it in its file (certbot: fullchain.pem)."
            )
    for hostname in hostnames:
        if not any(certificate.covers(hostname) for certificate in certificates):
            yield f"no certificate covers {hostname}: its clients can't connect. Add it to tls.cert and tls.key."
