"""Which registries, and by which host names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from registry_proxy.commands.config.checks import is_a
from registry_proxy.commands.config.context import pairs
from registry_proxy.commands.config.credential_check import unresolved
from registry_proxy.commands.config.prompter import MissingAnswerError
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
    """Which registries are cached."""
    flags = context.flags.registry
    own = {name: upstream.registry for name, upstream in context.old.upstreams.items()} if context.old else {}
    known = {preset.name: preset.registry for preset in PRESETS} | own
    if flags:
        context.answers.registries = [_from_flag(context, flag, known) for flag in flags]
        return
    on = list(own) if context.old else [preset.name for preset in PRESETS if preset.default]
    choices = {name: f"{name:<11} {registry}" for name, registry in known.items()} | {_ANOTHER: "another one"}
    question = "Which registries shall be cached?"
    chosen = context.prompter.choose_many(question, choices, on)
    while not chosen:
        context.prompter.tell("At least one: space selects, enter goes on.")
        chosen = context.prompter.choose_many(question, choices, ())
    context.answers.registries = [name for name in chosen if name != _ANOTHER]
    if _ANOTHER in chosen:
        context.answers.registries.append(_ask_another(context, known))


def _from_flag(context: Context, flag: str, known: dict[str, str]) -> str:
    name, separator, registry = flag.partition("=")
    if separator:
        if problem := _is_registry(registry) or _taken(name, {}):
            raise MissingAnswerError(f"--registry {flag}: {problem}")
        _wish_registry(context, name, registry)
    elif name not in known:
        raise MissingAnswerError(
            f"--registry {name} is not known: {', '.join(known)} are. Another one: --registry NAME=registry.example.com"
        )
    return name


def _ask_another(context: Context, known: dict[str, str]) -> str:
    prompter = context.prompter
    registry = prompter.text(
        "Its name in image names, such as registry.corp.example:", "", _is_registry, "--registry"
    )
    proposal = re.sub(r"[^a-z0-9]+", "-", registry.partition(":")[0].split(".")[-2:][0].lower()).strip("-")
    name = prompter.text("A short name for it:", proposal, lambda text: _taken(text, known), "--registry")
    _wish_registry(context, name, registry)
    return name


def _taken(name: str, known: dict[str, str]) -> str | None:
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        return "Lower-case letters, digits and single hyphens."
    return f"{name} is {known[name]} already." if name in known else None


def _wish_registry(context: Context, name: str, registry: str) -> None:
    context.answers.values["upstreams", name, "registry"] = registry


def ask_hostnames(context: Context) -> list[str]:
    """The host names of the server; empty when it is reached by its address."""
    flags, names = context.flags, context.answers.registries
    single = [text for text in flags.hostname if "=" not in text]
    own = pairs("--hostname", tuple(text for text in flags.hostname if "=" in text))
    if unknown := own.keys() - set(names):
        raise MissingAnswerError(f"--hostname {min(unknown)}=…: {min(unknown)} is not among the registries.")
    if len(single) > 1:
        raise MissingAnswerError("--hostname HOST: only one serves all. For one each: --hostname NAME=HOST.")
    way = _ONE if single else _EACH if own or flags.domain else _ask_way(context)
    if way == _EACH:
        hostnames = _each(context, own)
    elif way == _ONE:
        hostnames = {"": single[0] if single else _ask_one(context)}
    else:
        hostnames = {}
    for name in names:
        context.answers.values["upstreams", name, "hostname"] = hostnames.get(name)
    _check_resolution(context, list(hostnames.values()))
    return list(hostnames.values())


def _ask_way(context: Context) -> str:
    choices = {
        _EACH: "one for each registry: the way for Docker's classic image store, which knows no other",
        _ONE: "one for all: Docker's classic image store then caches Docker Hub alone",
        _NONE: "none: by an address, such as 127.0.0.1:5000",
    }
    return context.prompter.choose("Host names of the cache?", choices, _old_way(context))


def _old_way(context: Context) -> str:
    if context.old is None:
        return _EACH if context.prompter.attended else _NONE
    if any(upstream.hostname for upstream in context.old.upstreams.values()):
        return _EACH
    return _ONE if _old_one(context) else _NONE


def _old_one(context: Context) -> str:
    old = context.old
    if old is not None and old.tls is not None and old.tls.hostnames:
        return old.tls.hostnames[0]
    url = (old.server.public_url if old else None) or ""
    return url.partition("://")[2].partition(":")[0]


def _ask_one(context: Context) -> str:
    return context.prompter.text("The host name:", _old_one(context), _is_hostname, "--hostname")


def _each(context: Context, own: dict[str, str]) -> dict[str, str]:
    """By the name of the upstream: from the flags, from an earlier run, or proposed from one domain."""
    names, old = context.answers.registries, context.old
    before = {name: old.upstreams[name].hostname or "" for name in names if old and name in old.upstreams}
    domain = context.flags.domain or ""
    if not domain and not all(own.get(name) or before.get(name) for name in names):
        shared = _shared_domain([host for host in before.values() if host])
        domain = context.prompter.text(
            "The domain that they are under, such as registry.example.com:", shared, _is_hostname, "--domain"
        )
    hostnames: dict[str, str] = {}
    for name in names:
        proposal = f"{name}.{domain}" if context.flags.domain else before.get(name) or f"{name}.{domain}"
        given = own.get(name) or (proposal if context.flags.domain else None)
        check = _unless_taken(hostnames)
        if given is None:
            given = context.prompter.text(
                f"Host name for {name}:", proposal, check, f"--hostname {name}=HOST"
            )
        elif problem := check(given):
            raise MissingAnswerError(f"--hostname {name}={given}: {problem}")
        hostnames[name] = given.lower()
    return hostnames


def _unless_taken(hostnames: dict[str, str]) -> Check:
    def check(text: str) -> str | None:
        owner = next((name for name, host in hostnames.items() if host == text.lower()), None)
        return f"{text} is the host name of {owner} already." if owner else _is_hostname(text)

    return check


def _shared_domain(hostnames: list[str]) -> str:
    parents = {host.partition(".")[2] for host in hostnames}
    return parents.pop() if len(parents) == 1 else ""


def _check_resolution(context: Context, hostnames: list[str]) -> None:
    lost = unresolved(hostnames) if context.flags.check else []
    if lost and not context.accept(
        f"No address is known for {', '.join(lost)}: make DNS records that lead here, or clients find nothing."
    ):
        ask_hostnames(context)
