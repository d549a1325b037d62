"""The limit of open files, and the number of connections for which it is enough."""

from __future__ import annotations

import resource

# A client's connection, the duplicate of its socket for sendfile, and the files that it reads.
_PER_CONNECTION = 4
# Descriptors for downloads, the index and listening sockets; at most half of all.
_RESERVED = 2048
# More connections than this would take more memory than a worker should have.
_MOST_CONNECTIONS = 8192


def raise_descriptor_limit() -> None:
    """Raise the limit of open files to the one that the system allows. Most systems start programs with only 1024."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def most_connections() -> int:
    """Return the largest number of connections of a worker."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return _MOST_CONNECTIONS
    return max(1, min(_MOST_CONNECTIONS, (limit - min(_RESERVED, limit // 2)) // _PER_CONNECTION))
