"""The service's copy contains every package that the program requires here, and no other."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError

import pytest

from registry_proxy.commands.changes.plan import ChangeError
from registry_proxy.commands.install import program


@dataclass
class Package:
    """An installed package."""

    name: str
    requires: list[str] | None = None


PACKAGES = {
    "a": Package("A", ["b[fast] >= 1 ; python_version >= '3.11'", "gone ; sys_platform == 'win32'", "C_c"]),
    "b": Package("b", ["d ; extra == 'fast'", "e ; extra == 'slow'",
                       "f[slow] ; extra == 'fast' and python_version > '3'"]),
    "c-c": Package("C_c", ["a", "B ~= 2.0"]),
    "d": Package("d"),
    "e": Package("e"),
    "f": Package("f", ["d ; extra == 'slow'"]),
}  # fmt: skip


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def distribution(name: str) -> Package:
        if name not in PACKAGES:
            raise PackageNotFoundError(name)
        return PACKAGES[name]

    monkeypatch.setattr(program, "distribution", distribution)


@pytest.mark.parametrize(
    ("requirements", "found"),
    [
        (["d"], ["d"]),
        (["a<9"], ["A", "C_c", "b", "d", "f"]),
        (["b"], ["b"]),
        (["b[fast,slow]", "B"], ["b", "d", "e", "f"]),
        (["e ; python_version < '3'"], []),
    ],
)
def test_markers_and_extras_are_followed_and_each_package_is_found_once(
    requirements: list[str], found: list[str]
) -> None:
    assert sorted(each.name for each in program.required_distributions(requirements)) == found


def test_a_missing_package_is_reported() -> None:
    with pytest.raises(
        ChangeError, match=r"^the package gone is required but not installed\. Run: make install$"
    ):
        program.required_distributions(["gone"])
