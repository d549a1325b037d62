"""Kubernetes distributions with specific files: k3s, rke2, kind, Talos. Pure.

https://docs.k3s.io/installation/private-registry, https://kind.sigs.k8s.io,
https://docs.siderolabs.com/talos (RegistryMirrorConfig, RegistryTLSConfig, RegistryAuthConfig)
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ruamel.yaml.scalarstring import LiteralScalarString

from registry_proxy.commands.client.endpoints import ClientError
from registry_proxy.commands.client.hosts_toml import certificate_files, hosts_files
from registry_proxy.commands.client.planner import PUBLIC, SECRET, ClientFile, ClientPlan, ExistingFiles
from registry_proxy.commands.client.settings_files import dump_yaml, parse_yaml, put, put_first, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registry_proxy.commands.client.planner import ClientInputs

_KIND = "/etc/registry-proxy/kind"
_KIND_NOTE = (
    f"Create the cluster with it (kind 0.27 or later): kind create cluster --config {_KIND}/cluster.yaml"
)
TALOS = "registry-proxy.patch.yaml"
_TALOS_NOTE = (
    f"For Talos 1.12 and later. Save the file as {TALOS}, then run: "
    f"talosctl patch machineconfig --nodes NODES --patch @{TALOS}"
)


def _rancher_plan(inputs: ClientInputs, existing: ExistingFiles, *, name: str, restart: str) -> ClientPlan:
    directory = f"/etc/rancher/{name}"
    path = f"{directory}/registries.yaml"
    text = existing.get(path)
    document = parse_yaml(path, text)
    for registry, origin in _endpoints(inputs):
        mirror = table(path, document, "mirrors", registry)
        put_first(mirror, "endpoint", origin)
    for host in inputs.hosts:
        if settings := _rancher_host(inputs, f"{directory}/registry-proxy/{host}"):
            put(table(path, document, "configs", host), settings)
    mode = SECRET if inputs.login else PUBLIC
    files = [ClientFile(path, dump_yaml(document, like=text), mode, restart)]
    return ClientPlan((*files, *certificate_files(inputs, f"{directory}/registry-proxy")))


k3s_plan = partial(_rancher_plan, name="k3s", restart="systemctl try-restart k3s k3s-agent")
rke2_plan = partial(_rancher_plan, name="rke2", restart="systemctl try-restart rke2-server rke2-agent")


def _rancher_host(inputs: ClientInputs, certificates: str) -> dict[str, Any]:
    tls = {}
    if inputs.ca:
        tls["ca_file"] = f"{certificates}/ca.crt"
    if inputs.identity:
        tls |= {"cert_file": f"{certificates}/client.cert", "key_file": f"{certificates}/client.key"}
    auth = {"username": inputs.login.username, "password": inputs.login.password} if inputs.login else {}
    return {name: settings for name, settings in (("tls", tls), ("auth", auth)) if settings}


def kind_plan(inputs: ClientInputs, _: ExistingFiles) -> ClientPlan:
    """Return a cluster configuration that mounts hosts.toml files of this machine into every node."""
    if inputs.server.is_local:
        raise ClientError(
            "the nodes of kind can't reach this machine's loopback addresses. Listen on another address, and "
            "set it with --server http://ADDRESS:PORT."
        )
    inside = "/etc/containerd/certs.d"
    mount = {"hostPath": f"{_KIND}/certs.d", "containerPath": inside, "readOnly": True}
    cluster = {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "nodes": [{"role": "control-plane", "extraMounts": [mount]}],
    }
    # The files refer to each other by their paths in the nodes, which do not have this machine's files.
    outside = [
        ClientFile(file.path.replace(inside, f"{_KIND}/certs.d"), file.text, file.mode)
        for file in hosts_files(inputs, ExistingFiles({}), inside)
    ]
    return ClientPlan((ClientFile(f"{_KIND}/cluster.yaml", dump_yaml(cluster)), *outside), (_KIND_NOTE,))


def talos_plan(inputs: ClientInputs, _: ExistingFiles) -> ClientPlan:
    """Return a patch of the machine configuration for talosctl."""
    text = dump_yaml(*_talos_documents(inputs))
    return ClientPlan(
        (ClientFile(TALOS, text, SECRET if inputs.login or inputs.identity else PUBLIC),), (_TALOS_NOTE,)
    )


def _talos_documents(inputs: ClientInputs) -> Iterator[dict[str, Any]]:
    for registry, origin in _endpoints(inputs):
        endpoints = [{"url": origin}]
        yield _talos_document("RegistryMirrorConfig", registry, {"endpoints": endpoints})
    for host in inputs.hosts:
        tls: dict[str, Any] = {}
        if inputs.ca:
            tls["ca"] = LiteralScalarString(inputs.ca)
        if inputs.identity:
            pair = {"cert": inputs.identity.certificate, "key": inputs.identity.key}
            tls["clientIdentity"] = {name: LiteralScalarString(text) for name, text in pair.items()}
        if tls:
            yield _talos_document("RegistryTLSConfig", host, tls)
        if inputs.login:
            login = {"username": inputs.login.username, "password": inputs.login.password}
            yield _talos_document("RegistryAuthConfig", host, login)


def _talos_document(kind: str, name: str, settings: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1alpha1", "kind": kind, "name": name, **settings}


def _endpoints(inputs: ClientInputs) -> list[tuple[str, str]]:
    """Return registries and their addresses; `*` matches every registry."""
    if inputs.everything:
        return [("*", inputs.shared)]
    return [(mirror.registry, mirror.origin) for mirror in inputs.server.mirrors]
