"""A machine whose files are read and changed: this one, or another one over ssh. It requires sh and coreutils.

The shell reads the script from standard input: no part of it shows in a process list, and no file is copied.
"""

from __future__ import annotations

import base64
import hashlib
import subprocess
from dataclasses import dataclass, field
from shlex import quote
from typing import TYPE_CHECKING

from registry_proxy.commands.client.endpoints import ClientError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_READ = """
state() {
  if [ -f "$1" ]; then
    [ -r "$1" ] || { echo "$1: Permission denied" >&2; exit 1; }
    content=$(base64 < "$1" | tr -d '\\n')
    printf 'file %s %s\\n' "$(stat -L -c %a "$1")" "$content"
  elif [ -e "$1" ]; then
    echo "$1 is not a file" >&2; exit 1
  else
    above=$(dirname "$1")
    while [ ! -e "$above" ]; do above=$(dirname "$above"); done
    printf 'none %s %s\\n' 0 "$(printf %s "$above" | base64 | tr -d '\\n')"
  fi
}
"""
_OUTPUT = """
output() {
  if found=$(PATH=$PATH:/usr/local/bin:/usr/sbin:/sbin sh -c "$1" < /dev/null 2>/dev/null); then
    printf %s "$found" | base64 | tr -d '\\n'
  fi
}
"""
# Files are staged next to their targets: almost every failure occurs before the first rename, and a rename is atomic.
_WRITE = """
real() { if [ -L "$1" ]; then readlink -f "$1"; else printf '%s\\n' "$1"; fi; }
same() {
  found=$(sha256sum < "$1" | cut -d ' ' -f 1) || found=none
  [ "$found" = "$2" ] || { echo "$1 was changed by another program in the meantime" >&2; exit 1; }
}
absent() { [ ! -e "$1" ] || { echo "$1 was created by another program in the meantime" >&2; exit 1; }; }
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
    """An existing file."""

    content: bytes = field(repr=False)
    mode: int

    @property
    def sha256(self) -> str:
        """The digest of its content, in hex."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True, slots=True)
class Missing:
    """A missing file; `above` is the nearest existing directory above it."""

    above: str

    def directories(self, path: str) -> list[str]:
        """Return the directories to create for it, the outermost first."""
        missing = []
        directory = path.rpartition("/")[0]
        while directory and directory != self.above:
            missing.append(directory)
            directory = directory.rpartition("/")[0]
        return missing[::-1]


State = Found | Missing


@dataclass(frozen=True, slots=True)
class FileChange:
    """The state of a file when it was read, and its new state; None removes it."""

    path: str
    before: State
    after: Found | None


class Machine:
    """Runs scripts with a command that is a shell: `["sh"]`, `["ssh", "HOST", "sh"]`."""

    def __init__(self, command: Sequence[str], name: str) -> None:
        self._command = list(command)
        self.name = name

    def home(self) -> str:
        """Return the home directory of the user there. Raise ClientError if the shell fails."""
        return self._run('printf %s "${HOME%/}"').decode()

    def run(self, command: str) -> None:
        """Run a command line. Raise ClientError with its error output if it fails."""
        self._run(command)

    def outputs(self, commands: Iterable[str]) -> dict[str, str]:
        """Return what command lines print; nothing if one fails. Raise ClientError if the shell fails."""
        wanted = list(commands)
        # The commands must not read the script, which is on standard input.
        lines = "".join(f"printf '%s\n' \"$(output {quote(command)})\"\n" for command in wanted)
        found = self._run(_OUTPUT + lines).decode().splitlines()
        return {
            command: base64.b64decode(line).decode(errors="replace")
            for command, line in zip(wanted, found, strict=True)
        }

    def read(self, paths: Iterable[str]) -> dict[str, State]:
        """Return the states of files. Raise ClientError if one is unreadable."""
        wanted = list(paths)
        script = _READ + "".join(f"state {quote(path)}\n" for path in wanted)
        lines = self._run(script).decode().splitlines()
        return {path: _state(line) for path, line in zip(wanted, lines, strict=True)}

    def write(self, changes: Sequence[FileChange], *, remove_dirs: Sequence[str] = ()) -> None:
        """Make all changes or none. Then remove the directories `remove_dirs` that are empty.

        Raise ClientError, also if a file has another state than its change expects.
        """
        self._run(_write_script(changes, remove_dirs))

    def _run(self, script: str) -> bytes:
        text = f"set -eu\numask 022\n{script}\n"
        try:
            done = subprocess.run(self._command, input=text.encode(), capture_output=True, check=False)  # noqa: S603
        except OSError as error:
            raise ClientError(f"can't run {self._command[0]}: {error.strerror}.") from None
        if done.returncode:
            message = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
            raise ClientError(f"{self.name}: {message}{_fix(message)}")
        return done.stdout


def _fix(message: str) -> str:
    # The message "Permission denied (publickey)" of ssh has another cause.
    if "ermission denied" in message and "(" not in message:
        return ". Run this as root (with --ssh: root@HOST, or --sudo)."
    return ""


def _state(line: str) -> State:
    kind, mode, encoded = (line + " ").split(" ")[:3]
    content = base64.b64decode(encoded)
    return Found(content, int(mode, 8)) if kind == "file" else Missing(content.decode())


def _write_script(changes: Sequence[FileChange], remove_dirs: Sequence[str]) -> str:
    written = [(change.path, change.after) for change in changes if change.after is not None]
    created = dict.fromkeys(
        directory
        for change in changes
        if change.after is not None and isinstance(change.before, Missing)
        for directory in change.before.directories(change.path)
    )
    clean = [f"clean {quote(path)}" for path, _ in written]
    clean += [f"rmdir {quote(directory)} 2>/dev/null || :" for directory in reversed(created)]
    lines = [_WRITE, *(_check(change) for change in changes)]
    lines.append("undo() { code=$?; " + "; ".join([*clean, "exit $code"]) + "; }; trap undo EXIT")
    lines += [f"mkdir {quote(directory)}" for directory in created]
    lines += [_stage(path, after) for path, after in written]
    lines += [f"swap {quote(path)}" for path, _ in written]
    lines += [f"rm {quote(change.path)}" for change in changes if change.after is None]
    lines.append("trap - EXIT")
    lines += [f"rmdir {quote(directory)} 2>/dev/null || :" for directory in remove_dirs]
    return "\n".join(lines)


def _check(change: FileChange) -> str:
    if isinstance(change.before, Found):
        return f"same {quote(change.path)} {change.before.sha256}"
    return f"absent {quote(change.path)}"


def _stage(path: str, after: Found) -> str:
    encoded = base64.encodebytes(after.content).decode()
    # The text is empty or ends with a line break: the end mark is always on a separate line.
    return f"stage {quote(path)} {after.mode:o} <<'END'\n{encoded}END"
