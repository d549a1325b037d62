"""Questions about the registries to cache, and about host names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from registry_proxy.commands.config.context import pairs
from registry_proxy.commands.config.credential_check import unresolved
from registry_proxy.commands.config.prompter import MissingAnswerError
from registry_proxy.commands.config.validators import is_a
from registry_proxy.config.types import Hostname, Registry
from registry_proxy.upstream.presets import PRESETS

if TYPE_CHECKING:
    from registry_proxy.commands.config.context import Context
    from registry_proxy.commands.config.prompter import Check

_ANOTHER = "another"
_EACH, _ONE, _NONE = "each", "one", "none"
_is_hostname = is_a(Hostname)
_is_registry = is_a(Registry)


def ask_registries(context: Context) -> None:
    """Ask for the registries to cache."""
    flags = context.flags.registry
    current = (
        {name: upstream.registry for name, upstream in context.old.upstreams.items()} if context.old else {}
    )
    known = {preset.name: preset.registry for preset in PRESETS} | current
    if flags:
        context.answers.registries = [_from_flag(context, flag, known) for flag in flags]
        return
    on = list(current) if context.old else [preset.name for preset in PRESETS if preset.default]
    choices = {name: f"{name:<11} {registry}" for name, registry in known.items()} | {_ANOTHER: "another one"}
    question = "Which registries to cache?"
    chosen = context.prompter.choose_many(question, choices, on)
    while not chosen:
        context.prompter.print("Select at least one: space selects, enter continues.")
        chosen = context.prompter.choose_many(question, choices, ())
    context.answers.registries = [name for name in chosen if name != _ANOTHER]
    if _ANOTHER in chosen:
        context.answers.registries.append(_ask_another(context, known))


def _from_flag(context: Context, flag: str, known: dict[str, str]) -> str:
    name, separator, registry = flag.partition("=")
    if separator:
        if problem := _is_registry(registry) or _name_problem(name, {}):
            raise MissingAnswerError(f"--registry {flag}: {problem}")
        _set_registry(context, name, registry)
    elif name not in known:
        raise MissingAnswerError(
            f"--registry {name} is unknown. Known are {', '.join(known)}. "
            "For another one: --registry NAME=registry.example.com"
        )
    return name


def _ask_another(context: Context, known: dict[str, str]) -> str:
    prompter = context.prompter
    registry = prompter.text(
        "Its host in image names, such as registry.corp.example:", "", _is_registry, "--registry"
    )
    proposal = re.sub(r"[^a-z0-9]+", "-", registry.partition(":")[0].split(".")[-2:][0].lower()).strip("-")
    name = prompter.text(
        "A short name for it:", proposal, lambda text: _name_problem(text, known), "--registry"
    )
    _set_registry(context, name, registry)
    return name


def _name_problem(name: str, known: dict[str, str]) -> str | None:
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        return "Use lower-case letters, digits and single hyphens."
    return f"{name} is already used for {known[name]}." if name in known else None


def _set_registry(context: Context, name: str, registry: str) -> None:
    context.answers.values["upstreams", name, "registry"] = registry


def ask_hostnames(context: Context) -> list[str]:
    """Ask for the host names of the server, and return them; none if clients use its address."""
    hostnames = _from_flags(context)
    if hostnames is None:
        hostnames = _ask(context, _old_hostnames(context), _default_naming(context))
    while not _are_accepted(context, list(hostnames.values())):
        hostnames = _ask(context, hostnames, _naming_of(hostnames))
    for name in context.answers.registries:
        context.answers.values["upstreams", name, "hostname"] = hostnames.get(name)
    return list(hostnames.values())


def _from_flags(context: Context) -> dict[str, str] | None:
    """Return the host name of each upstream, or the one for all with an empty key; None without a flag."""
    flags = context.flags
    single = [text for text in flags.hostname if "=" not in text]
    given = pairs("--hostname", tuple(text for text in flags.hostname if "=" in text))
    if unknown := given.keys() - set(context.answers.registries):
        raise MissingAnswerError(
            f"--hostname {min(unknown)}=…: {min(unknown)} is not among the registries to cache."
        )
    if len(single) > 1:
        raise MissingAnswerError(
            "--hostname HOST: only one host name serves all registries. For one per registry: --hostname NAME=HOST."
        )
    if single:
        return {"": single[0]}
    if given or flags.domain:
        return _ask_each(context, _old_hostnames(context), given, flags.domain)
    return None


def _ask(context: Context, before: dict[str, str], naming: str) -> dict[str, str]:
    """Ask for the host names; `before` are the proposals, by upstream or with an empty key."""
    choices = {
        _EACH: "one for each registry: required for Docker's classic image store",
        _ONE: "one for all: Docker's classic image store then caches only Docker Hub",
        _NONE: "none: clients use an address, such as 127.0.0.1:5000",
    }
    naming = context.prompter.choose("Host names of the cache?", choices, naming)
    if naming == _EACH:
        return _ask_each(context, before, {}, None)
    if naming == _ONE:
        one = context.prompter.text("The host name:", before.get("", ""), _is_hostname, "--hostname")
        return {"": one}
    return {}


def _default_naming(context: Context) -> str:
    if context.old is None:
        return _EACH if context.prompter.interactive else _NONE
    return _naming_of(_old_hostnames(context))


def _naming_of(hostnames: dict[str, str]) -> str:
    if any(hostnames):
        return _EACH
    return _ONE if hostnames else _NONE


def _old_hostnames(context: Context) -> dict[str, str]:
    """Return the host names of the existing file, by upstream or with an empty key."""
    old = context.old
    if old is None:
        return {}
    names = {name: upstream.hostname for name, upstream in old.upstreams.items() if upstream.hostname}
    if names:
        return names
    if old.tls is not None and old.tls.hostnames:
        return {"": old.tls.hostnames[0]}
    host = (old.server.public_url or "").partition("://")[2].partition(":")[0]
    return {"": host} if host else {}


def _ask_each(
    context: Context, before: dict[str, str], given: dict[str, str], domain: str | None
) -> dict[str, str]:
    """Return the host names by upstream: given ones, those before, or below one domain."""
    names, parent = context.answers.registries, domain or ""
    if not parent and not all(given.get(name) or before.get(name) for name in names):
        shared = _shared_domain([host for name, host in before.items() if name in names])
        parent = context.prompter.text(
            "Their domain, such as registry.example.com:", shared, _is_hostname, "--domain"
        )
    hostnames: dict[str, str] = {}
    for name in names:
        proposal = f"{name}.{domain}" if domain else before.get(name) or f"{name}.{parent}"
        hostname = given.get(name) or (proposal if domain else None)
        check = _unused_hostname(hostnames)
        if hostname is None:
            hostname = context.prompter.text(
                f"Host name for {name}:", proposal, check, f"--hostname {name}=HOST"
            )
        elif problem := check(hostname):
            raise MissingAnswerError(f"--hostname {name}={hostname}: {problem}")
        hostnames[name] = hostname.lower()
    return hostnames


def _unused_hostname(hostnames: dict[str, str]) -> Check:
    def check(text: str) -> str | None:
        owner = next((name for name, host in hostnames.items() if host == text.lower()), None)
        return f"{text} is already the host name of {owner}." if owner else _is_hostname(text)

    return check


def _shared_domain(hostnames: list[str]) -> str:
    parents = {host.partition(".")[2] for host in hostnames}
    return parents.pop() if len(parents) == 1 else ""


def _are_accepted(context: Context, hostnames: list[str]) -> bool:
    """Return whether the host names resolve, or the user accepts that they do not."""
    unknown = unresolved(hostnames) if context.flags.check else []
    return not unknown or context.accept(
        f"Cannot resolve {', '.join(unknown)}. Create DNS records for this machine, or clients cannot connect."
    )
