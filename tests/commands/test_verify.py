from __future__ import annotations

import asyncio
import hashlib
import json
from typing import TYPE_CHECKING, Any

import pexpect
import pytest
from tests.commands.program import PROGRAM

from registry_proxy.oci.reference import Digest
from registry_proxy.storage.filesystem import FilesystemStore

if TYPE_CHECKING:
    from tests.commands.program import Program, Stored

    from registry_proxy.index.sqlite import SqliteIndex


def verify(program: Program, *arguments: str, code: int = 0) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(program("verify", "--json", *arguments, code=code).stdout)
    return report


def kinds(report: dict[str, Any]) -> dict[str, str]:
    return {finding["digest"]: finding["kind"] for finding in report["findings"]}


def test_a_sound_store_is_sound(program: Program, stored: Stored) -> None:
    contents = (b"", b"one", b"two" * 1_000_000)
    for content in contents:
        stored.put(content)
    report = verify(program)
    assert report == {"files": 3, "bytes": sum(map(len, contents)), "sound": True, "findings": []}
    assert "No damage found." in program("verify").stdout


def test_damage_is_found_and_left(program: Program, stored: Stored) -> None:
    sound, damaged = stored.put(b"sound"), stored.put(b"good", damaged=True)
    report = verify(program, code=1)
    assert kinds(report) == {str(damaged): "damaged"}
    assert hashlib.sha256(b"\0ood").hexdigest() in report["findings"][0]["reason"]
    assert stored.file(damaged).exists()
    assert set(stored.rows()) == {sound, damaged}
    assert f"damaged {damaged}" in program("verify", code=1).stdout


def test_repair_removes_what_is_damaged_and_nothing_else(program: Program, stored: Stored) -> None:
    sound, damaged = stored.put(b"sound"), stored.put(b"good", damaged=True)
    report = verify(program, "--repair")
    assert report["findings"][0]["repaired"]
    assert not stored.file(damaged).exists()
    assert stored.file(sound).read_bytes() == b"sound"
    assert set(stored.rows()) == {sound}
    assert verify(program)["findings"] == []


def test_content_that_lost_bytes_is_damaged(program: Program, stored: Stored) -> None:
    digest = stored.put(b"whole")
    stored.file(digest).write_bytes(b"who")
    assert kinds(verify(program, code=1)) == {str(digest): "damaged"}


def test_a_row_without_a_file_is_dropped(program: Program, stored: Stored) -> None:
    lost, kept = stored.put(b"lost"), stored.put(b"kept")
    stored.file(lost).unlink()
    assert kinds(verify(program)) == {str(lost): "missing"}
    assert set(stored.rows()) == {lost, kept}
    verify(program, "--repair")
    assert set(stored.rows()) == {kept}


def test_a_file_without_a_row_is_adopted(program: Program, stored: Stored) -> None:
    digest = stored.put(b"found", counted=False)
    assert kinds(verify(program)) == {str(digest): "uncounted"}
    assert stored.rows() == {}
    verify(program, "--repair")
    assert stored.rows() == {digest: 5}
    assert verify(program)["findings"] == []


def test_a_lost_index_is_made_anew(program: Program, stored: Stored) -> None:
    digests = {stored.put(bytes([number])) for number in range(20)}
    for file in stored.root.glob("index.db*"):
        file.unlink()
    verify(program, "--repair")
    assert set(stored.rows()) == digests


def test_a_fill_under_way_is_no_finding(program: Program, stored: Stored) -> None:
    stored.put(b"content")
    ingest = FilesystemStore(stored.root).begin(Digest.of(b"coming"))
    assert ingest is not None
    ingest.append([b"com"])
    try:
        assert verify(program, "--repair")["findings"] == []
        assert ingest.size == 3
    finally:
        ingest.close()


def test_a_running_server_sees_the_repair(program: Program, stored: Stored) -> None:
    damaged, lost = stored.put(b"good", damaged=True), stored.put(b"lost")
    found = stored.put(b"found", counted=False)
    stored.file(lost).unlink()

    async def serve(index: SqliteIndex) -> None:
        assert index.used_bytes() == 8
        await asyncio.to_thread(verify, program, "--repair")
        assert [index.content(digest) for digest in (damaged, lost)] == [None, None]
        assert index.content(found) is not None
        assert index.used_bytes() == 5

    stored.indexed(serve)


def test_a_file_that_cannot_be_opened_is_told_and_left(bound_program: Program, stored: Stored) -> None:
    digest = stored.put(b"content")
    stored.file(digest).chmod(0)
    done = bound_program("verify", "--repair", code=1)
    assert f"unreadable {digest}" in done.stdout
    assert "1 unreadable. Run this as the owner of" in done.stdout
    assert stored.file(digest).exists()
    assert set(stored.rows()) == {digest}


def test_without_a_store_it_says_where_it_looked(program: Program) -> None:
    done = program("verify", code=1)
    assert str(program.folder / "store") in done.stderr
    assert not (program.folder / "store").exists()


def test_a_terminal_shows_the_progress(program: Program, stored: Stored) -> None:
    stored.put(b"\0" * 100_000_000)
    terminal: pexpect.spawn[str] = pexpect.spawn(
        str(PROGRAM), ["verify"], env=program.environ, encoding="utf-8", timeout=60, dimensions=(24, 120)
    )
    try:
        terminal.expect(r"checking .*/100\.0 MB.*B/s")
        terminal.expect("Checked 1 files, 100.0 MB.")
        terminal.expect(pexpect.EOF)
    finally:
        terminal.close()
    assert terminal.exitstatus == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [([], "Run: registry-proxy verify --repair"), (["--repair"], "downloads them again")],
)
def test_the_summary_says_what_to_do(
    program: Program, stored: Stored, arguments: list[str], text: str
) -> None:
    stored.put(b"good", damaged=True)
    assert text in program("verify", *arguments, code=0 if arguments else 1).stdout
