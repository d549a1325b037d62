from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from registry_proxy.commands.client.endpoints import ClientError, server_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry_proxy.config import Settings

HUB = "[upstreams.dockerhub]\nhostname = 'hub.example.com'\n"
ALONE = "".join(f"[upstreams.{name}]\nenabled = false\n" for name in ("quay", "gcr", "k8s"))
TLS = "[tls]\ncert = 'c.pem'\nkey = 'k.pem'\n"


@pytest.mark.parametrize(
    ("toml", "hub", "ghcr"),
    [
        ("", "http://127.0.0.1:5000", "http://127.0.0.1:5000/ghcr.io"),
        ("[server]\nlisten = ['10.0.0.7:5000']", "http://10.0.0.7:5000", "http://10.0.0.7:5000/ghcr.io"),
        ("[server]\nlisten = ['0.0.0.0:80', '[2001:db8::7]:80']", "http://[2001:db8::7]:80", None),
        ("[server]\npublic_url = 'https://one.example.com'", "https://one.example.com", None),
        ("[server]\npublic_url = 'https://one.example.com:8443'", "https://one.example.com:8443", None),
        (HUB, "https://hub.example.com", "http://127.0.0.1:5000/ghcr.io"),
        ("[server]\nlisten = ['0.0.0.0:5000']\n" + HUB, "http://hub.example.com:5000", "absent"),
        ("[server]\nlisten = ['0.0.0.0:80']\n" + HUB, "http://hub.example.com", "absent"),
        ("[server]\npublic_url = 'http://hub.example.com:81'\n" + HUB, "http://hub.example.com:81", "absent"),
        ("[server]\npublic_url = 'https://one.example.com:44'\n" + HUB, "https://hub.example.com:44", None),
        (TLS + "hostnames = ['one.example.com']", "https://one.example.com", None),
        (TLS + "hostnames = ['one.example.com']\n" + HUB, "https://hub.example.com", None),
        (TLS + "listen = ['[::]:8443']\n" + HUB, "https://hub.example.com:8443", "absent"),
    ],
)
def test_registries_are_reached_as_the_settings_tell(
    toml: str, hub: str, ghcr: str | None, settings: Callable[[str], Settings]
) -> None:
    server = server_of(settings(f"{toml}\n{ALONE}"))
    mirror, other = server.mirror("docker.io"), server.mirror("ghcr.io")
    assert mirror is not None
    assert mirror.origin == hub
    if ghcr == "absent":
        assert other is None
        assert "ghcr.io is not included" in server.notes[0]
    else:
        assert other is not None
        scheme = other.origin.partition("://")[0]
        assert f"{scheme}://{other.location}" == (ghcr or f"{server.shared}/ghcr.io")


def test_an_address_that_is_given_serves_all_registries(settings: Callable[[str], Settings]) -> None:
    server = server_of(settings(TLS + HUB), "http://192.0.2.7:5000")
    assert {mirror.origin for mirror in server.mirrors} == {"http://192.0.2.7:5000"}
    assert len(server.mirrors) == 5


@pytest.mark.parametrize("toml", ["[server]\nlisten = ['0.0.0.0:5000']", TLS])
def test_an_unknown_address_is_asked_for(toml: str, settings: Callable[[str], Settings]) -> None:
    with pytest.raises(ClientError, match="--server http://ADDRESS:PORT"):
        server_of(settings(toml))


@pytest.mark.parametrize(
    "url", ["registry.example.com", "ftp://a.example", "https://", "https://a/b", "http://u@a", "http://a:x"]
)
def test_what_is_no_address_is_refused(url: str, settings: Callable[[str], Settings]) -> None:
    with pytest.raises(ClientError, match="is not the address of a server"):
        server_of(settings(""), url)


@pytest.mark.parametrize(
    ("toml", "local"),
    [
        ("", True),
        (TLS + "hostnames = ['one.example.com']", False),
        ("[server]\nlisten = ['localhost:1']", True),
    ],
)
def test_a_server_for_this_machine_alone_is_known(
    toml: str, local: bool, settings: Callable[[str], Settings]
) -> None:
    assert server_of(settings(toml)).is_local is local
