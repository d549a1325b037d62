"""Preparation of certificates, store and index, once before the workers start."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from registry_proxy.aio.pools import HOUSEKEEPING
from registry_proxy.index.base import IndexCheck
from registry_proxy.service.site import boot_mark, hold_preparation, open_site

if TYPE_CHECKING:
    from registry_proxy.config import Settings
    from registry_proxy.tls.service import CertificateService

log = logging.getLogger(__name__)


def prepare_tls(settings: Settings) -> CertificateService | None:
    """Return the certificates, None without TLS. Raise StartError."""
    if settings.tls is None:
        return None
    from registry_proxy.service.wiring.tls import build_certificates  # noqa: PLC0415

    return build_certificates(settings)


async def prepare(settings: Settings, index_check: IndexCheck = IndexCheck.QUICK) -> None:
    """Create the store's directories and the index. Raise StoreError or IndexFailedError.

    A lost index is created again: the content is counted, and linked as manifests are pulled. After a power loss the
    check of the index is a full one at least.
    """
    mark = boot_mark(settings.storage.path)
    if index_check is IndexCheck.QUICK and mark.shows_power_loss():
        index_check = IndexCheck.FULL
    async with open_site(settings.storage.path, create=True, index_check=index_check) as site:
        hold_preparation(site.locks)
        mark.begin()
        for outage in site.index.outages():
            await site.index.end_outage(outage.registry)  # the workers of the last start saw it
        if not site.index.is_new:
            return
        found = await HOUSEKEEPING.run(lambda: list(site.store.walk()))
        if found:
            await site.index.adopt(found, time.time())
            log.warning(
                "the index is new: %d items in the store are linked again as they are pulled", len(found)
            )
        await site.index.end_scan()
        mark.renew()
