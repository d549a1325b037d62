"""The supervisor's child processes: the workers, and the preparation of the store. They never return."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from typing import TYPE_CHECKING, NoReturn

from registry_proxy.index.base import IndexCheck, IndexFailedError
from registry_proxy.service.errors import IndexLostError
from registry_proxy.service.memory import keep_freed_buffers
from registry_proxy.service.recovery import INDEX_FAILED
from registry_proxy.service.watchdog import report_threads_on_signal
from registry_proxy.service.wiring.preparation import prepare
from registry_proxy.storage.base import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry_proxy.config import Settings
    from registry_proxy.service.worker import Worker

log = logging.getLogger(__name__)

# The signals that the supervisor blocks, and its children handle.
SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}


def run_preparation(settings: Settings, detach: Callable[[], None], *, replace_index: bool) -> NoReturn:
    """Prepare the store again in this process. `detach` closes what belongs to the supervisor."""
    code = 1
    try:
        detach()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        asyncio.run(prepare(settings, IndexCheck.REPLACE if replace_index else IndexCheck.FULL))
        code = 0
    except (StoreError, IndexFailedError) as error:
        log.error("%s", error)  # noqa: TRY400
    except Exception:
        log.exception("the preparation of the store failed; please report this")
    finally:
        os._exit(code)


def run_worker(number: int, create: Callable[[], Worker]) -> NoReturn:
    """Run worker `number` in this process. `create` also closes what belongs to the supervisor and other workers."""
    code = 1
    try:
        keep_freed_buffers()
        report_threads_on_signal()
        asyncio.run(_serve(create))
        code = 0
    except IndexLostError as error:
        log.error("worker %d ended: %s", number, error)  # noqa: TRY400
        code = INDEX_FAILED
    except (StoreError, IndexFailedError) as error:
        # The other workers may still be able to use it: on a full disk it can be used, but not opened.
        log.error("worker %d cannot start: %s", number, error)  # noqa: TRY400
    except Exception:
        log.exception("worker %d failed", number)
    finally:
        os._exit(code)


async def _serve(create: Callable[[], Worker]) -> None:
    worker = create()
    worker.handle_signals()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    await worker.run()
