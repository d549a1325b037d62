"""A folder to configure in, and the presets of the project."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from registry_proxy.config import ConfigError, Problem, Settings, load
from registry_proxy.upstream.presets import PRESETS

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Configuration:
    """The three places that settings come from."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        return self.folder / "registry-proxy.toml"

    @property
    def dotenv(self) -> Path:
        return self.folder / ".env"

    def load(self, toml: str | None = None, **environ: str) -> Settings:
        if toml is not None:
            self.file.write_text(toml)
            self.file.chmod(0o600)
        presets = {preset.name: preset for preset in PRESETS}
        return load(self.file if self.file.exists() else None, {**self.environ, **environ}, presets)

    def problems(self, toml: str | None = None, **environ: str) -> tuple[Problem, ...]:
        with pytest.raises(ConfigError) as caught:
            self.load(toml, **environ)
        return caught.value.problems

    def problem(self, toml: str | None = None, **environ: str) -> Problem:
        problems = self.problems(toml, **environ)
        assert len(problems) == 1, problems
        return problems[0]


@pytest.fixture
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configuration:
    monkeypatch.chdir(tmp_path)
    return Configuration(tmp_path, {"HOME": str(tmp_path / "home")})
