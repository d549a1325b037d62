"""Links, `make` targets and source files in the documents exist."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from tests.docs.prose import without_code_blocks

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "registry_proxy"
DOCUMENTS = {
    str(path.relative_to(ROOT)): path.read_text() for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"))
}
ARCHITECTURE = DOCUMENTS["docs/architecture.md"]


def anchors(markdown: str) -> set[str]:
    """Return the anchors that forges give the headings: lower case, without punctuation, repeated ones numbered."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#+ (.+)$", without_code_blocks(markdown), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def links() -> list[tuple[str, str]]:
    """Return all links between files of the project, with the document that has them."""
    return [
        (name, link)
        for name, text in DOCUMENTS.items()
        for link in re.findall(r"\]\(([^)\s]+)\)", without_code_blocks(text))
        if not link.startswith(("https://", "http://"))
    ]


@pytest.mark.parametrize(("name", "link"), links())
def test_every_link_leads_to_a_file_and_to_a_heading_of_it(name: str, link: str) -> None:
    file, _, anchor = link.partition("#")
    target = (ROOT / name).parent / file if file else ROOT / name
    assert target.is_file()
    if anchor:
        assert anchor in anchors(target.read_text())


def test_links_are_found() -> None:
    assert {("README.md", "docs/tls.md"), ("docs/operations.md", "tls.md#failed-issuance")} <= set(links())


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_make_target_exists(name: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands = [
        *re.findall(r"`([^`\n]+)`", without_code_blocks(DOCUMENTS[name])),
        *(
            line
            for block in re.findall(r"```.*?^```", DOCUMENTS[name], re.DOTALL | re.MULTILINE)
            for line in block.splitlines()
        ),
    ]
    named = {target for command in commands for target in re.findall(r"^(?:sudo )?make ([a-z-]+)", command)}
    assert named <= targets


def test_every_source_file_that_is_named_exists() -> None:
    named = {path for text in DOCUMENTS.values() for path in re.findall(r"`((?:src|tests)/[\w./-]*)`", text)}
    assert not {path for path in named if not (ROOT / path).exists()}


def test_every_test_that_is_named_exists() -> None:
    named = {
        name for text in DOCUMENTS.values() for name in re.findall(r"`(tests/[\w/]+\.py::[\w:]+)`", text)
    }
    assert named
    missing = set()
    for name in named:
        file, *parts = name.split("::")
        source = (ROOT / file).read_text() if (ROOT / file).is_file() else ""
        if not all(
            re.search(rf"^ *(?:class|(?:async )?def) {part}\b", source, re.MULTILINE) for part in parts
        ):
            missing.add(name)
    assert not missing


def test_every_module_of_the_architecture_exists() -> None:
    layers = "|".join(
        sorted(path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__")
    )
    named = set(re.findall(rf"(?<![\w/.])((?:{layers})(?:/\w+)+)", ARCHITECTURE))
    assert "cache/blobs/fills" in named
    missing = {
        each for each in named if not (PACKAGE / each).is_dir() and not (PACKAGE / f"{each}.py").is_file()
    }
    assert not missing


def test_the_architecture_names_every_layer() -> None:
    layers = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    diagram = ARCHITECTURE.split("```mermaid\n")[1].split("```")[0]
    assert {layer for layer in layers if not re.search(rf"\b{layer}\b", diagram)} == set()
