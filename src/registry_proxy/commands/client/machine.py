"""A machine whose files are read and changed: this one, or another over ssh. It takes sh, base64 and the usual tools.

The script goes to the shell's standard input, so that nothing of it is in a process list, and no file is copied.
"""

from __future__ import annotations

import base64
import hashlib
import subprocess
from dataclasses import dataclass, field
from shlex import quote
from typing import TYPE_CHECKING

from registry_proxy.commands.client.server import ClientError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_READ = """
tell() {
  if [ -f "$1" ]; then
    [ -r "$1" ] || { echo "$1: Permission denied" >&2; exit 1; }
    content=$(base64 < "$1" | tr -d '\\n')
    printf 'file %s %s\\n' "$(stat -L -c %a "$1")" "$content"
  elif [ -e "$1" ]; then
    echo "$1 is no file" >&2; exit 1
  else
    above=$(dirname "$1")
    while [ ! -e "$above" ]; do above=$(dirname "$above"); done
    printf 'none %s %s\\n' 0 "$(printf %s "$above" | base64 | tr -d '\\n')"
  fi
}
"""
# Staged beside each file, so that what goes wrong goes wrong before anything has changed, and a rename is whole.
_WRITE = """
real() { if [ -L "$1" ]; then readlink -f "$1"; else printf '%s\\n' "$1"; fi; }
same() {
  found=$(sha256sum < "$1" | cut -d ' ' -f 1) || found=none
  [ "$found" = "$2" ] || { echo "$1 was changed by another meanwhile" >&2; exit 1; }
}
absent() { [ ! -e "$1" ] || { echo "$1 was made by another meanwhile" >&2; exit 1; }; }
stage() {
  new=$(real "$1").registry-proxy-new
  if [ -e "$1" ]; then cp -p "$1" "$new"; else : > "$new"; fi
  chmod "$2" "$new"
  base64 -d > "$new"
  sync "$new" 2>/dev/null || sync
}
swap() { mv -f "$(real "$1").registry-proxy-new" "$(real "$1")"; }
clean() { rm -f "$(real "$1").registry-proxy-new"; }
"""


@dataclass(frozen=True, slots=True)
class Found:
    """A file that there is."""

    content: bytes = field(repr=False)
    mode: int

    @property
    def sha256(self) -> str:
        """Its content's digest, in hex."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True, slots=True)
class Missing:
    """A file that there isn't; `above` is the nearest folder over it that there is."""

    above: str

    def folders(self, path: str) -> list[str]:
        """The folders to make for it, the outermost first."""
        folders = []
        folder = path.rpartition("/")[0]
        while folder and folder != self.above:
            folders.append(folder)
            folder = folder.rpartition("/")[0]
        return folders[::-1]


State = Found | Missing


@dataclass(frozen=True, slots=True)
class Change:
    """From what a file was when it was read, to what it shall be; None removes it."""

    path: str
    before: State
    after: Found | None


class Machine:
    """Runs scripts by a command that is a shell: `["sh"]`, `["ssh", "HOST", "sh"]`."""

    def __init__(self, command: Sequence[str], name: str) -> None:
        self._command = list(command)
        self.name = name

    def home(self) -> str:
        """The home folder of the user there. Raises ClientError."""
        return self._run('printf %s "${HOME%/}"').decode()

    def run(self, command: str) -> None:
        """Run a command line. Raises ClientError with what it said when it fails."""
        self._run(command)

    def read(self, paths: Iterable[str]) -> dict[str, State]:
        """The files at `paths`. Raises ClientError."""
        wanted = list(paths)
        script = _READ + "".join(f"tell {quote(path)}\n" for path in wanted)
        lines = self._run(script).decode().splitlines()
        return {path: _state(line) for path, line in zip(wanted, lines, strict=True)}

    def write(self, changes: Sequence[Change], *, remove_dirs: Sequence[str] = ()) -> None:
        """Make the changes, all of them or none; then remove the folders `remove_dirs`, where they are empty.

        Raises ClientError, also when a file isn't any more what the change says.
        """
        self._run(_write_script(changes, remove_dirs))

    def _run(self, script: str) -> bytes:
        text = f"set -eu\numask 022\n{script}\n"
        try:
            done = subprocess.run(self._command, input=text.encode(), capture_output=True, check=False)  # noqa: S603
        except OSError as error:
            raise ClientError(f"can't run {self._command[0]}: {error.strerror}.") from None
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip() or f"ended with {done.returncode}"
            raise ClientError(f"{self.name}: {said}{_remedy(said)}")
        return done.stdout


def _remedy(said: str) -> str:
    # ssh's own "Permission denied (publickey)" says enough.
    if "ermission denied" in said and "(" not in said:
        return ". Run this as root (with --ssh: root@HOST, or --sudo); nothing was changed."
    return ""


def _state(line: str) -> State:
    kind, mode, encoded = (line + " ").split(" ")[:3]
    content = base64.b64decode(encoded)
    return Found(content, int(mode, 8)) if kind == "file" else Missing(content.decode())


def _write_script(changes: Sequence[Change], remove_dirs: Sequence[str]) -> str:
    written = [(change.path, change.after) for change in changes if change.after is not None]
    made = dict.fromkeys(
        folder
        for change in changes
        if change.after is not None and isinstance(change.before, Missing)
        for folder in change.before.folders(change.path)
    )
    clean = [f"clean {quote(path)}" for path, _ in written]
    clean += [f"rmdir {quote(folder)} 2>/dev/null || :" for folder in reversed(made)]
    lines = [_WRITE, *(_check(change) for change in changes)]
    lines.append("undo() { code=$?; " + "; ".join([*clean, "exit $code"]) + "; }; trap undo EXIT")
    lines += [f"mkdir {quote(folder)}" for folder in made]
    lines += [_stage(path, after) for path, after in written]
    lines += [f"swap {quote(path)}" for path, _ in written]
    lines += [f"rm {quote(change.path)}" for change in changes if change.after is None]
    lines.append("trap - EXIT")
    lines += [f"rmdir {quote(folder)} 2>/dev/null || :" for folder in remove_dirs]
    return "\n".join(lines)


def _check(change: Change) -> str:
    if isinstance(change.before, Found):
        return f"same {quote(change.path)} {change.before.sha256}"
    return f"absent {quote(change.path)}"


def _stage(path: str, after: Found) -> str:
    encoded = base64.encodebytes(after.content).decode()
    # An empty file has no line: the end mark must have one of its own.
    return f"stage {quote(path)} {after.mode:o} <<'END'\n{encoded}END"
