r"""The world outside, for tests: images, upstream registries that misbehave on demand, real clients.

In the test's own event loop:

```python
from tests.kit import images
from tests.kit.faults import Break, Stall, too_many_requests
from tests.kit.upstream import SimulatedUpstream

async with SimulatedUpstream("dockerhub") as upstream:  # any name in `profiles`; ranges=False etc. change it
    pushed = images.image(layer_size=1_000_000)
    layer = pushed.layers[0]
    upstream.push("library/alpine", pushed, "latest")
    upstream.arm("blob", Break(after=1000), reference=layer.digest)     # once; times=None is for ever
    upstream.arm("manifest", too_many_requests(30), method="HEAD", times=2)
    async with upstream.gate("blob", after=5000) as gate:               # orders events without sleeping
        ...  # start pulling through the thing under test from upstream.url
        await gate.reached.wait()
        ...
        gate.release()
    assert upstream.count("GET", "manifest") == 1
    assert upstream.transfers(layer.digest) == 2                        # one broken, one resumed
    await upstream.stop()                                               # connections are refused
    await upstream.start()                                              # on the same ports
```

Kinds of requests: `ping`, `manifest`, `blob`, `tags`, `referrers`, `catalog`, `token`, `other`, and `redirect` for
a request that the profile answers by a redirect. So `blob` is always the request for the bytes, be they
on the registry or on its storage, and faults in the body of a blob are armed for that kind.

In a process of its own, for tests without an event loop, with real clients, in a sealed network:

```python
from tests.kit.certificates import Authority
from tests.kit.clients import Containerd, Docker, Podman, Skopeo
from tests.kit.processes import Daemon, run, running
from tests.kit.remote import Simulators
from tests.kit.sealed import SealedNetwork

authority = Authority.create()
with (
    SealedNetwork(tmp_path, authority, {"registry.example.com": "127.20.0.1"}) as network,
    Simulators(["dockerhub"], tmp_path, runner=network, authority=authority, real_names=True) as upstreams,
    Docker(network, mirrors=["https://registry.example.com"]) as docker,
):
    hub = upstreams["dockerhub"]                   # the methods of SimulatedUpstream, without await
    hub.push("library/hello", images.runnable_image(), "latest")
    with running(Daemon(network, ["registry-proxy", "serve"], tmp_path / "log")):
        docker.pull("hello")
    assert docker.run("hello") == "hello\n"
    assert hub.count("GET", "manifest") == 1
```

Without `runner`, `authority` and `real_names` all of that runs on this machine's loopback over plain HTTP.
`python -m tests.kit.debian` installs the Debian packages that this takes.
"""
