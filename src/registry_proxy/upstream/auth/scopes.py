"""Scopes of bearer tokens, as templates that fit every repository of a registry. Pure.

Source: the token scope specification of the Docker registry (distribution/docs/spec/auth/scope.md). A template is the
pieces of a scope, to be joined by a repository's name. Without the name in it, it is a single piece.
"""

from __future__ import annotations

Template = tuple[str, ...]

# A URL with more or longer scopes would be refused.
_MAX_SCOPES = 20
_MAX_LENGTH = 2000
# `pull` is requested in any case. A token service may refuse the others.
_NOT_ADDED = frozenset({"pull", "push", "delete", "*"})


def challenged_scope(challenge: str, name: str) -> Template:
    """Return the scopes of a challenge to a request for the repository `name`, as they are."""
    return _joined([_template(scope, name) for scope in _split(challenge)])


def pull_scope(challenge: str, name: str) -> Template:
    """Return the scope to pull from the repository `name`, and those that the challenge adds.

    A challenge can name more actions than a pull requires, another repository as a placeholder, or nothing: clients
    request the scope of the pull regardless. A challenge to `app` can also name `tenant/app`, the registry's own name
    for it, or a further action that only reads, such as Azure's `metadata_read` for lists of tags.
    """
    scopes = _split(challenge)
    is_named = any(len(_template(scope, name)) > 1 for scope in scopes)
    added: list[Template] = []
    for scope in scopes:
        template = _template(scope, name)
        if len(template) > 1:
            reads = [action for action in template[1][1:].split(",") if action not in _NOT_ADDED]
            added += [(template[0], f":{action}") for action in ("pull", *reads)]
        elif is_named or not scope.startswith("repository:"):
            added.append(template)
    return _joined(list(dict.fromkeys([("repository:", ":pull"), *added])))


def _split(challenge: str) -> list[str]:
    """Return the single scopes of a challenge."""
    return challenge[:_MAX_LENGTH].split()[:_MAX_SCOPES]


def _template(scope: str, name: str) -> Template:
    """Return the parts of one scope before and after the name; a prefix of the name belongs to the first part."""
    head, _, actions = scope.rpartition(":")
    prefix = head.removesuffix(name)
    if scope.startswith("repository") and prefix != head and prefix.endswith((":", "/")):
        return (prefix, f":{actions}")
    return (scope,)


def _joined(templates: list[Template]) -> Template:
    """Return one template of several scopes, which are separated by spaces."""
    pieces: list[str] = []
    for first, *rest in templates:
        pieces = [*pieces[:-1], f"{pieces[-1]} {first}", *rest] if pieces else [first, *rest]
    return tuple(pieces)
