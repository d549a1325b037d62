"""Clients that read slowly or leave, and a server that ends."""

from __future__ import annotations

import asyncio
import resource
import socket
import struct

import pytest
from tests.cache.harness import REPOSITORY, Site
from tests.kit import images
from tests.kit.waiting import until
from tests.server.harness import Edge, serving

MANIFEST = f"/v2/{REPOSITORY}/manifests/latest"


class TestSlowReaders:
    async def test_pipelined_answers_wait_for_a_client_that_does_not_read(self, site: Site) -> None:
        large = images.oversized(3 << 20)
        site.simulated.push(REPOSITORY, large, "latest")
        async with site.worker() as worker, serving(site, worker) as edge, await edge.connect() as wire:
            wire.ask(MANIFEST)
            assert (await wire.answer()).status == 200  # from now on it is answered from memory
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            wire.reader._transport.pause_reading()  # type: ignore[attr-defined]
            for _ in range(300):
                wire.ask(MANIFEST)
            await asyncio.sleep(0.3)
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            assert grown < 60 * 1024  # KiB; all answers have 900 MiB
            wire.reader._transport.resume_reading()  # type: ignore[attr-defined]
            for _ in range(300):
                assert (await wire.answer()).body == large.raw

    async def test_cold_blobs_cost_no_memory_with_clients_that_do_not_read(self, site: Site) -> None:
        large = images.Content.of("application/octet-stream", images.incompressible(64 << 20))
        site.simulated.contents.repository(REPOSITORY).blobs[large.digest] = large
        async with site.worker() as worker, serving(site, worker) as edge:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            socks = [edge.socket(4096) for _ in range(8)]
            try:
                for sock in socks:
                    request = f"GET /v2/{REPOSITORY}/blobs/{large.digest} HTTP/1.1\r\nHost: a\r\n\r\n"
                    sock.sendall(request.encode())
                await until(lambda: worker.is_stored(large.digest))
                assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60 * 1024
            finally:
                for sock in socks:
                    sock.close()
            await until(lambda: not edge.server._connections)


class TestDepartures:
    @pytest.mark.parametrize("how", ["close", "reset"])
    @pytest.mark.parametrize("state", ["cold", "warm"])
    async def test_a_client_that_leaves_in_the_middle_harms_nothing(
        self, site: Site, how: str, state: str
    ) -> None:
        large = images.Content.of("application/octet-stream", images.incompressible(24 << 20))
        site.simulated.contents.repository(REPOSITORY).blobs[large.digest] = large
        async with site.worker() as worker, serving(site, worker) as edge:
            if state == "warm":
                await worker.store_blob(large.digest)
            for _ in range(10):
                sock = edge.socket(65536)
                sock.sendall(
                    f"GET /v2/{REPOSITORY}/blobs/{large.digest} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
                )
                sock.setblocking(False)
                await asyncio.get_running_loop().sock_recv(sock, 65536)
                if how == "reset":
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()
            answer = await edge.get(f"/v2/{REPOSITORY}/blobs/{large.digest}")
            assert answer.body == large.raw
            await until(lambda: not edge.server._connections)
        assert site.simulated.transfers(large.digest) == 1

    async def test_one_that_leaves_while_the_upstream_is_asked(self, edge: Edge) -> None:
        async with edge.site.simulated.gate("manifest") as gate:
            async with await edge.connect() as wire:
                wire.ask(MANIFEST)
                await gate.reached.wait()
            gate.release()
            assert (await edge.get(MANIFEST)).status == 200
        assert edge.site.simulated.count("GET", "manifest") == 1

    async def test_a_blob_that_breaks_off_breaks_the_connection(self, edge: Edge) -> None:
        site, layer = edge.site, edge.site.simulated.contents.repositories[REPOSITORY].blobs
        digest, blob = max(layer.items(), key=lambda item: item[1].size)
        site.simulated.contents.repositories[REPOSITORY].blobs[digest] = images.Content(
            blob.media_type, b"x" * blob.size, digest
        )
        async with await edge.connect() as wire:
            wire.ask(f"/v2/{REPOSITORY}/blobs/{digest}")
            head = await wire.head()
            assert head.status == 200
            assert len(await wire.rest()) < int(head.headers["content-length"])


class TestDraining:
    async def test_answers_under_way_are_completed_and_idle_connections_closed(
        self, site: Site, image: images.Image
    ) -> None:
        site.simulated.push(REPOSITORY, image, "latest")
        layer = image.layers[0]
        async with site.worker() as worker, serving(site, worker) as edge:
            idle, busy, pending = await edge.connect(), await edge.connect(), await edge.connect()
            idle.ask("/v2/")
            await idle.answer()
            async with site.simulated.gate("blob", after=1000) as gate:
                busy.ask(f"/v2/{REPOSITORY}/blobs/{layer.digest}")
                busy.ask("/v2/")  # not begun, so not answered
                pending.send(b"GET /v2/ HTTP/1.1\r\n")
                await gate.reached.wait()
                draining = asyncio.create_task(edge.server.drain(10))
                assert await idle.rest() == b""
                assert await pending.rest() == b""
                with pytest.raises(ConnectionRefusedError):
                    await edge.connect()
                assert not draining.done()
                gate.release()
                assert (await busy.answer()).body == layer.raw
                assert await busy.rest() == b""
                busy.writer.close()
            await draining
            for wire in (idle, pending):
                wire.writer.close()

    async def test_the_rest_is_cut_after_the_grace(self, site: Site, image: images.Image) -> None:
        site.simulated.push(REPOSITORY, image, "latest")
        layer = image.layers[0]
        async with (
            site.worker() as worker,
            serving(site, worker) as edge,
            await edge.connect() as busy,
            site.simulated.gate("blob", after=1000) as gate,
        ):
            busy.ask(f"/v2/{REPOSITORY}/blobs/{layer.digest}")
            await gate.reached.wait()
            await edge.server.drain(0.1)
            assert len(await busy.rest()) < layer.size
