"""The world outside, for tests: images, upstream registries that misbehave on demand, real clients.

```python
from tests.kit import images
from tests.kit.faults import Break
from tests.kit.upstream import SimulatedUpstream

async with SimulatedUpstream("dockerhub") as upstream:
    pushed = images.image()
    upstream.push("library/alpine", pushed, "latest")
    upstream.arm("blob", Break(after=1000), reference=pushed.layers[0].digest)
    ...  # pull through the thing under test from upstream.url
    assert upstream.count("GET", "manifest") == 1
    assert upstream.transfers(pushed.layers[0].digest) == 2
```
"""
