"""The changes to a machine's files that apply a client's plan, or undo it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry_proxy.commands.changes.plan import Change, Done
from registry_proxy.commands.changes.show import diff_text, mask_of
from registry_proxy.commands.client.endpoints import ClientError
from registry_proxy.commands.client.machine import FileChange, Found, Missing, State
from registry_proxy.commands.client.planner import SECRET, ClientFile, make_plan
from registry_proxy.commands.client.record import (
    Record,
    SavedFile,
    copy_path,
    original,
    record_directory,
    record_path,
    saved_file,
)
from registry_proxy.commands.client.redact import redacted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from registry_proxy.commands.client.machine import Machine
    from registry_proxy.commands.client.planner import ClientInputs, ClientPlan, Planner


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """Changes to a machine: `files` are the client's, `bookkeeping` are the record and the copies for `--undo`.

    `remove_dirs` are directories to remove once they are empty, the innermost first. `restarts` are the commands that
    make the client read its files.
    """

    files: tuple[FileChange, ...]
    bookkeeping: tuple[FileChange, ...]
    remove_dirs: tuple[str, ...]
    restarts: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChangeFiles:
    """The step that makes all changes of a set on its machine, in one script.

    The diffs contain no secrets of the files; `secrets` are masked wherever they are.
    """

    machine: Machine
    change_set: ChangeSet
    secrets: Sequence[str] = ()

    def changes(self) -> list[Change]:
        """Return the changes to the client's files."""
        return [self._shown(change) for change in self.change_set.files]

    def apply(self) -> Done:
        """Make them, all or none."""
        changes = (*self.change_set.bookkeeping, *self.change_set.files)
        self.machine.write(changes, remove_dirs=self.change_set.remove_dirs)
        return Done()

    def _shown(self, change: FileChange) -> Change:
        before = change.before if isinstance(change.before, Found) else None
        masked = mask_of(self.secrets)
        old, new = (side.content if side else None for side in (before, change.after))
        diff = diff_text(change.path, old, new, lambda text: masked(redacted(change.path, text)))
        if change.after is None:
            return Change("remove", change.path, diff)
        if before is None:
            return Change("create", change.path, diff)
        detail = (
            f": mode {change.after.mode:04o}" if old == new else "" if diff else ": parts that are not shown"
        )
        return Change("change", f"{change.path}{detail}", diff)


class Applied:
    """The changes that were applied to a machine before, for one kind of client."""

    def __init__(self, machine: Machine, kind: str, home: str, *, user: bool) -> None:
        self._machine = machine
        self.directory = record_directory(kind, home, user=user)
        self.path = record_path(self.directory)
        self.state = machine.read([self.path])[self.path]
        self.record: Record | None = None
        if isinstance(self.state, Found):
            self.record = Record.decode(self.path, self.state.content)
        self.files: tuple[SavedFile, ...] = self.record.files if self.record else ()
        self.current = machine.read(saved.path for saved in self.files)
        self.copies = machine.read(copy_path(self.directory, saved.path) for saved in self.files)

    def originals(self, *, force: bool = False) -> dict[str, State]:
        """Return the state of each file before the first change. Raise ClientError if a copy is missing.

        A file that another program has changed since stays as it is, except with `force`.
        """
        return {
            saved.path: original(saved, self.current[saved.path], self._copy(saved), force=force)
            for saved in self.files
        }

    def is_applied(self, saved: SavedFile) -> bool:
        """Return whether the file still has the content that was applied."""
        current = self.current[saved.path]
        return isinstance(current, Found) and current.sha256 == saved.sha256

    def is_undone(self, saved: SavedFile) -> bool:
        """Return whether the file has its previous content."""
        current, copy = self.current[saved.path], self._copy(saved)
        if saved.mode is None:
            return isinstance(current, Missing)
        return isinstance(current, Found) and isinstance(copy, Found) and current.content == copy.content

    def copy_changes(self, befores: Mapping[str, State]) -> list[FileChange]:
        """Return the changes after which there are copies of these files and no others."""
        wanted = {
            copy_path(self.directory, path): Found(before.content, SECRET)
            for path, before in befores.items()
            if isinstance(before, Found)
        }
        states = self._machine.read(wanted.keys() | self.copies.keys())
        changes = [FileChange(path, states[path], wanted.get(path)) for path in sorted(states)]
        return [change for change in changes if not _is_noop(change)]

    def directories(self) -> list[str]:
        """Return the directories of the record and the copies, up to the one that this program created."""
        above = self.directory.rpartition("/")[0].rpartition("/")[0]
        paths = [self.path, *self.copies]
        return [directory for path in paths for directory in Missing(above).directories(path)]

    def _copy(self, saved: SavedFile) -> State:
        return self.copies[copy_path(self.directory, saved.path)]


def apply_changes(machine: Machine, kind: str, planner: Planner, inputs: ClientInputs) -> ChangeSet:
    """Return the changes after which the machine's files match the client's plan. Raise ClientError."""
    applied = Applied(machine, kind, inputs.home, user=inputs.user)
    originals = applied.originals()
    states: dict[str, State] = dict(originals)

    def read(paths: frozenset[str]) -> dict[str, str | None]:
        states.update(machine.read(paths - states.keys()))
        return {path: _text(path, states[path]) for path in paths}

    plan = make_plan(planner, inputs, read, machine.outputs)
    states.update(machine.read({file.path for file in plan.files} - states.keys()))
    targets: dict[str, State] = {file.path: _target(file, states[file.path]) for file in plan.files}
    current = states | applied.current
    stale = [saved for saved in applied.files if saved.path not in targets]
    targets |= {saved.path: originals[saved.path] for saved in stale if applied.is_applied(saved)}
    changes = [
        FileChange(path, current[path], target if isinstance(target, Found) else None)
        for path, target in targets.items()
    ]
    notes = [
        f"{saved.path} stays: another program has changed it since."
        for saved in stale
        if not applied.is_applied(saved)
    ]
    return _change_set(applied, plan, [change for change in changes if not _is_noop(change)], states, notes)


def _change_set(
    applied: Applied,
    plan: ClientPlan,
    changes: list[FileChange],
    states: Mapping[str, State],
    notes: list[str],
) -> ChangeSet:
    restarts = {file.path: file.restart for file in plan.files} | {
        saved.path: saved.restart for saved in applied.files
    }
    befores = {file.path: states[file.path] for file in plan.files}
    kept = [
        saved_file(FileChange(file.path, states[file.path], target), states[file.path], file.restart)
        for file in plan.files
        if not _is_noop(FileChange(file.path, states[file.path], target := _target(file, states[file.path])))
    ]
    bookkeeping: list[FileChange] = []
    if changes:
        record = Found(Record(tuple(kept)).encode(), SECRET)
        bookkeeping = applied.copy_changes({saved.path: befores[saved.path] for saved in kept})
        bookkeeping.append(FileChange(applied.path, applied.state, record))
    return ChangeSet(
        tuple(changes),
        tuple(change for change in bookkeeping if not _is_noop(change)),
        _innermost_first(directory for saved in applied.files for directory in saved.directories),
        _commands(restarts, changes),
        (*plan.notes, *notes),
    )


def undo_changes(machine: Machine, kind: str, home: str, *, user: bool, force: bool = False) -> ChangeSet:
    """Return the changes that restore the previous files. `force` loses changes by other programs since.

    Raise ClientError if there is no record, or without `force` if another program has changed a file since.
    """
    applied = Applied(machine, kind, home, user=user)
    if applied.record is None:
        raise ClientError(f"nothing to undo: {applied.path} does not exist on {machine.name}.")
    left = [saved for saved in applied.files if not applied.is_undone(saved)]
    changed = [saved.path for saved in left if not applied.is_applied(saved)]
    if changed and not force:
        raise ClientError(
            f"another program has changed {', '.join(changed)} since; nothing was undone, to keep that change. "
            "Add --force to restore the previous files and lose the change. Or remove the cache's entries by hand "
            f"(the previous files are in {applied.directory}/before), then delete {applied.directory}."
        )
    originals = applied.originals(force=force)
    changes = [
        FileChange(saved.path, applied.current[saved.path], before if isinstance(before, Found) else None)
        for saved in left
        for before in (originals[saved.path],)
    ]
    directories = [directory for saved in applied.files for directory in saved.directories]
    restarts = {saved.path: saved.restart for saved in applied.files}
    bookkeeping = (*applied.copy_changes({}), FileChange(applied.path, applied.state, None))
    return ChangeSet(
        tuple(change for change in changes if not _is_noop(change)),
        bookkeeping,
        _innermost_first([*directories, *applied.directories()]),
        _commands(restarts, changes),
    )


def _commands(restarts: Mapping[str, str | None], changes: Iterable[FileChange]) -> tuple[str, ...]:
    commands = (restarts.get(change.path) for change in changes)
    return tuple(dict.fromkeys(command for command in commands if command))


def _innermost_first(directories: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(directories), key=len, reverse=True))


def _target(file: ClientFile, before: State) -> Found:
    mode = file.mode
    if isinstance(before, Found):
        mode = before.mode & SECRET if file.mode == SECRET else before.mode
    return Found(file.text.encode(), mode)


def _is_noop(change: FileChange) -> bool:
    if change.after is None:
        return isinstance(change.before, Missing)
    return change.before == change.after


def _text(path: str, state: State) -> str | None:
    if isinstance(state, Missing):
        return None
    try:
        return state.content.decode()
    except UnicodeDecodeError:
        raise ClientError(
            f"{path} is not UTF-8 text. Nothing was changed. Fix the file, then run the command again."
        ) from None
