"""Changing a machine's files by a plan, and undoing it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry_proxy.commands.client.machine import Change, Found, Missing, State
from registry_proxy.commands.client.plan import SECRET, ClientFile, make_plan
from registry_proxy.commands.client.record import (
    Record,
    Saved,
    copy_path,
    original,
    place_of,
    record_path,
    saved_of,
)
from registry_proxy.commands.client.server import ClientError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from registry_proxy.commands.client.machine import Machine
    from registry_proxy.commands.client.plan import Plan, Planner, View


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """What is to be done on a machine: `changes` to the client's files; `bookkeeping` is what makes them undoable.

    `remove_dirs` are folders that are removed once they are empty, the innermost first; `restarts` are the
    commands after which the client knows.
    """

    changes: tuple[Change, ...]
    bookkeeping: tuple[Change, ...]
    remove_dirs: tuple[str, ...]
    restarts: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def do(self, machine: Machine) -> None:
        """Do it, all or nothing. Raises ClientError."""
        machine.write((*self.bookkeeping, *self.changes), remove_dirs=self.remove_dirs)


class Applied:
    """What was applied to a machine before: for one kind of client."""

    def __init__(self, machine: Machine, kind: str, home: str, *, user: bool) -> None:
        self._machine = machine
        self.place = place_of(kind, home, user=user)
        self.path = record_path(self.place)
        self.state = machine.read([self.path])[self.path]
        self.record: Record | None = None
        if isinstance(self.state, Found):
            self.record = Record.decode(self.path, self.state.content)
        self.files: tuple[Saved, ...] = self.record.files if self.record else ()
        self.current = machine.read(saved.path for saved in self.files)
        self.copies = machine.read(copy_path(self.place, saved.path) for saved in self.files)

    def originals(self) -> dict[str, State]:
        """What each file was before we changed it. Raises ClientError."""
        return {
            saved.path: original(saved, self.current[saved.path], self._copy(saved)) for saved in self.files
        }

    def is_ours(self, saved: Saved) -> bool:
        """Whether the file is as we left it."""
        current = self.current[saved.path]
        return isinstance(current, Found) and current.sha256 == saved.sha256

    def is_undone(self, saved: Saved) -> bool:
        """Whether the file is what it was before."""
        current, copy = self.current[saved.path], self._copy(saved)
        if saved.mode is None:
            return isinstance(current, Missing)
        return isinstance(current, Found) and isinstance(copy, Found) and current.content == copy.content

    def copy_changes(self, befores: Mapping[str, State]) -> list[Change]:
        """Keep copies of the files that there were, and no others."""
        wanted = {
            copy_path(self.place, path): Found(before.content, SECRET)
            for path, before in befores.items()
            if isinstance(before, Found)
        }
        states = self._machine.read(wanted.keys() | self.copies.keys())
        changes = [Change(path, states[path], wanted.get(path)) for path in sorted(states)]
        return [change for change in changes if not _is_same(change)]

    def folders(self) -> list[str]:
        """The folders of the record and the copies, and those over them that are ours."""
        above = self.place.rpartition("/")[0].rpartition("/")[0]
        paths = [self.path, *self.copies]
        return [folder for path in paths for folder in Missing(above).folders(path)]

    def _copy(self, saved: Saved) -> State:
        return self.copies[copy_path(self.place, saved.path)]


def applying(machine: Machine, kind: str, planner: Planner, view: View) -> ChangeSet:
    """The work that makes the machine's files what the plan says. Raises ClientError."""
    applied = Applied(machine, kind, view.home, user=view.user)
    originals = applied.originals()
    states: dict[str, State] = dict(originals)

    def read(paths: frozenset[str]) -> dict[str, str | None]:
        states.update(machine.read(paths - states.keys()))
        return {path: _text(path, states[path]) for path in paths}

    plan = make_plan(planner, view, read)
    states.update(machine.read({file.path for file in plan.files} - states.keys()))
    targets: dict[str, State] = {file.path: _target(file, states[file.path]) for file in plan.files}
    current = states | applied.current
    stale = [saved for saved in applied.files if saved.path not in targets]
    targets |= {saved.path: originals[saved.path] for saved in stale if applied.is_ours(saved)}
    changes = [
        Change(path, current[path], target if isinstance(target, Found) else None)
        for path, target in targets.items()
    ]
    notes = [
        f"{saved.path} was changed by another since: it stays."
        for saved in stale
        if not applied.is_ours(saved)
    ]
    return _work(applied, plan, [change for change in changes if not _is_same(change)], states, notes)


def _work(
    applied: Applied, plan: Plan, changes: list[Change], states: Mapping[str, State], notes: list[str]
) -> ChangeSet:
    restarts = {file.path: file.restart for file in plan.files} | {
        saved.path: saved.restart for saved in applied.files
    }
    befores = {file.path: states[file.path] for file in plan.files}
    kept = [
        saved_of(Change(file.path, states[file.path], target), states[file.path], file.restart)
        for file in plan.files
        if not _is_same(Change(file.path, states[file.path], target := _target(file, states[file.path])))
    ]
    bookkeeping: list[Change] = []
    if changes:
        record = Found(Record(tuple(kept)).encode(), SECRET)
        bookkeeping = applied.copy_changes({saved.path: befores[saved.path] for saved in kept})
        bookkeeping.append(Change(applied.path, applied.state, record))
    folders = [folder for saved in applied.files for folder in saved.folders]
    return ChangeSet(
        tuple(changes),
        tuple(change for change in bookkeeping if not _is_same(change)),
        _innermost_first(folders),
        _commands(restarts, changes),
        (*plan.notes, *notes),
    )


def undoing(machine: Machine, kind: str, home: str, *, user: bool) -> ChangeSet:
    """The work that gives the files back as they were. Raises ClientError, also when another has changed one since."""
    applied = Applied(machine, kind, home, user=user)
    if applied.record is None:
        raise ClientError(f"nothing to undo: {machine.name} has no {applied.path}.")
    left = [saved for saved in applied.files if not applied.is_undone(saved)]
    changed = [saved.path for saved in left if not applied.is_ours(saved)]
    if changed:
        raise ClientError(
            f"{', '.join(changed)} was changed since, and that would be lost; nothing was undone. Take the cache's "
            f"entries out by hand (what was there before is in {applied.place}/before), then delete {applied.place}."
        )
    originals = applied.originals()
    changes = [
        Change(saved.path, applied.current[saved.path], before if isinstance(before, Found) else None)
        for saved in left
        for before in (originals[saved.path],)
    ]
    folders = [folder for saved in applied.files for folder in saved.folders] + applied.folders()
    restarts = {saved.path: saved.restart for saved in applied.files}
    bookkeeping = (*applied.copy_changes({}), Change(applied.path, applied.state, None))
    return ChangeSet(tuple(changes), bookkeeping, _innermost_first(folders), _commands(restarts, changes))


def _commands(restarts: Mapping[str, str | None], changes: Iterable[Change]) -> tuple[str, ...]:
    commands = (restarts.get(change.path) for change in changes)
    return tuple(dict.fromkeys(command for command in commands if command))


def _innermost_first(folders: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(folders), key=len, reverse=True))


def _target(file: ClientFile, before: State) -> Found:
    mode = file.mode
    if isinstance(before, Found):
        mode = before.mode & SECRET if file.mode == SECRET else before.mode
    return Found(file.text.encode(), mode)


def _is_same(change: Change) -> bool:
    if change.after is None:
        return isinstance(change.before, Missing)
    return change.before == change.after


def _text(path: str, state: State) -> str | None:
    if isinstance(state, Missing):
        return None
    try:
        return state.content.decode()
    except UnicodeDecodeError:
        raise ClientError(f"{path} is not UTF-8 text. Mend the file first; nothing was changed.") from None
