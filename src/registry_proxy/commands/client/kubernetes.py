"""Kubernetes distributions with ways of their own: k3s, rke2, kind, Talos. Pure.

https://docs.k3s.io/installation/private-registry, https://kind.sigs.k8s.io,
https://docs.siderolabs.com/talos (RegistryMirrorConfig, RegistryTLSConfig, RegistryAuthConfig)
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ruamel.yaml.scalarstring import LiteralScalarString

from registry_proxy.commands.client.documents import dump_yaml, first, parse_yaml, table
from registry_proxy.commands.client.hosts_toml import certificate_files, hosts_files
from registry_proxy.commands.client.plan import PUBLIC, SECRET, ClientFile, Plan
from registry_proxy.commands.client.server import ClientError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registry_proxy.commands.client.plan import Present, View

_KIND = "/etc/registry-proxy/kind"
_KIND_NOTE = (
    f"Make the cluster with it (kind 0.27 or later): kind create cluster --config {_KIND}/cluster.yaml"
)
TALOS = "registry-proxy.patch.yaml"
_TALOS_NOTE = (
    f"For Talos 1.12 and later. Keep it as {TALOS}, and: "
    f"talosctl patch machineconfig --nodes NODES --patch @{TALOS}"
)


def _rancher_plan(view: View, present: Present, *, name: str, restart: str) -> Plan:
    folder = f"/etc/rancher/{name}"
    path = f"{folder}/registries.yaml"
    document = parse_yaml(path, present.get(path))
    for registry, origin in _endpoints(view):
        mirror = table(path, document, "mirrors", registry)
        mirror["endpoint"] = first(origin, mirror.get("endpoint"))
    for host in view.hosts:
        if settings := _rancher_host(view, f"{folder}/registry-proxy/{host}"):
            table(path, document, "configs", host).update(settings)
    mode = SECRET if view.login else PUBLIC
    files = [ClientFile(path, dump_yaml(document), mode, restart)]
    return Plan((*files, *certificate_files(view, f"{folder}/registry-proxy")))


k3s_plan = partial(_rancher_plan, name="k3s", restart="systemctl try-restart k3s k3s-agent")
rke2_plan = partial(_rancher_plan, name="rke2", restart="systemctl try-restart rke2-server rke2-agent")


def _rancher_host(view: View, certificates: str) -> dict[str, Any]:
    tls = {}
    if view.ca:
        tls["ca_file"] = f"{certificates}/ca.crt"
    if view.identity:
        tls |= {"cert_file": f"{certificates}/client.cert", "key_file": f"{certificates}/client.key"}
    auth = {"username": view.login.username, "password": view.login.password} if view.login else {}
    return {name: settings for name, settings in (("tls", tls), ("auth", auth)) if settings}


def kind_plan(view: View, present: Present) -> Plan:
    """A cluster configuration that shows hosts.toml files of this machine to every node."""
    if view.server.is_local:
        raise ClientError(
            "the nodes of kind can't reach this machine's loopback addresses. Listen on another one, and "
            "say it by --server http://ADDRESS:PORT."
        )
    inside = "/etc/containerd/certs.d"
    mount = {"hostPath": f"{_KIND}/certs.d", "containerPath": inside, "readOnly": True}
    cluster = {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "nodes": [{"role": "control-plane", "extraMounts": [mount]}],
    }
    # The files name each other by their paths in the nodes.
    outside = [
        ClientFile(file.path.replace(inside, f"{_KIND}/certs.d"), file.text, file.mode)
        for file in hosts_files(view, present, inside)
    ]
    return Plan((ClientFile(f"{_KIND}/cluster.yaml", dump_yaml(cluster)), *outside), (_KIND_NOTE,))


def talos_plan(view: View, _: Present) -> Plan:
    """A patch of the machine configuration, for talosctl."""
    text = dump_yaml(*_talos_documents(view))
    return Plan((ClientFile(TALOS, text, SECRET if view.login or view.identity else PUBLIC),), (_TALOS_NOTE,))


def _talos_documents(view: View) -> Iterator[dict[str, Any]]:
    for registry, origin in _endpoints(view):
        endpoints = [{"url": origin}]
        yield _talos_document("RegistryMirrorConfig", registry, {"endpoints": endpoints})
    for host in view.hosts:
        tls: dict[str, Any] = {}
        if view.ca:
            tls["ca"] = LiteralScalarString(view.ca)
        if view.identity:
            pair = {"cert": view.identity.certificate, "key": view.identity.key}
            tls["clientIdentity"] = {name: LiteralScalarString(text) for name, text in pair.items()}
        if tls:
            yield _talos_document("RegistryTLSConfig", host, tls)
        if view.login:
            login = {"username": view.login.username, "password": view.login.password}
            yield _talos_document("RegistryAuthConfig", host, login)


def _talos_document(kind: str, name: str, settings: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1alpha1", "kind": kind, "name": name, **settings}


def _endpoints(view: View) -> list[tuple[str, str]]:
    """Registry and address; `*` stands for every registry."""
    if view.everything:
        return [("*", view.shared)]
    return [(mirror.registry, mirror.origin) for mirror in view.server.mirrors]
