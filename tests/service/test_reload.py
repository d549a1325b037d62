"""The settings that a reload applies, and those that wait for a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from registry_proxy.config import Settings, load
from registry_proxy.service.reload import merged_settings, waiting_for_restart
from registry_proxy.upstream.presets import PRESETS

if TYPE_CHECKING:
    from pathlib import Path

ACME = "[tls]\nacme = 'https://ca.test/dir'\nhostnames = ['one.test']\n"


@pytest.mark.parametrize(
    ("before", "after", "waiting"),
    [
        ("", "", ()),
        ("", "[upstreams.ghcr]\nenabled = false\n[access]\nsources = ['10.0.0.0/8']\n", ()),
        ("", "[server]\nlisten = ['[::]:5000']\nworkers = 3\n", ("server.listen", "server.workers")),
        ("", "[storage]\nmax_size = '1GiB'\n", ("storage.max_size",)),
        ("", "[access]\nproxy_protocol = true\nsources = ['10.0.0.0/8']\n", ("access.proxy_protocol",)),
        ("", ACME, ("tls",)),
        (ACME, "", ("tls",)),
        (ACME, ACME.replace("one.test", "two.test"), ()),
        (ACME, ACME + "listen = ['[::]:8443']\n", ("tls.listen",)),
        ("[log]\nlevel = 'debug'\n", "[cache]\ntag_ttl = '5m'\n", ("cache.tag_ttl", "log.level")),
    ],
)
def test_what_a_reload_does_not_apply_is_listed(
    before: str, after: str, waiting: tuple[str, ...], tmp_path: Path
) -> None:
    old, new = settings(before, tmp_path), settings(after, tmp_path)
    assert waiting_for_restart(old, new) == waiting
    # The reload repeats it until the server is restarted, and applies the rest.
    merged = merged_settings(old, new)
    assert waiting_for_restart(merged, new) == waiting
    assert (merged.upstreams, merged.access.sources) == (new.upstreams, new.access.sources)


def settings(toml: str, folder: Path) -> Settings:
    file = folder / "registry-proxy.toml"
    file.write_text(toml)
    return load(file, {"HOME": str(folder)}, {preset.name: preset for preset in PRESETS})
