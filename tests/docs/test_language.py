"""Words that an engineer has to read twice are rare. CONTRIBUTING.md lists the words to use instead."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.docs.prose import prose, search, search_source

ROOT = Path(__file__).parents[2]
SOURCE = [ROOT / "src"]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), ROOT / "docs"]

PATTERNS = {
    "tell": r"\b[Tt](ell|ells|old|elling)\b",
    "whoever": r"(?i)\b(who|what|which)ever\b|\b(some|no|any|every)(body|one)\b",
    "mend": r"\b[Mm]end(s|ed|ing)?\b|\banew\b",
    "answer": r"\b[Aa]nswer(s|ed|ing)?\b",
    "folder": r"(?i)\bfolders?\b",
    "under way": r"\bunder way\b|\bcom(es?|ing) in\b|\b[Bb]ehind (\S+ ){1,2}backs?\b",
    "beside": r"\b(beside|meanwhile|shall|perhaps|seldom|or else|all the same|in vain|for want of|good-bye"
    r"|done with)\b",
    "nothing but": r"\b(nothing|all) but\b|\bbut for\b|(?<![Tt]here )\b(is|are|was|were) no (?!longer|more)[a-z]",
    "word of": r"'s (own )?words?\b|\bword (of|that|on)\b|\bauthorit(y|ies)\b",
    "of its own": r"\b(this|the|that) very\b|\bof (its|our|your|their) own\b",
    "is to be": r"\b(is|are|was|were) to be\b|\bbe had\b|\bbecomes? of\b|\bcomes? to\b",
    "give back": r"\b(gives?|gave|given) (out|back)\b|\bput back\b|\btaken? (out|back)\b"
    r"|\b[Tt]akes? (root|a restart|a privilege|--|``)",
    "go by": r"\b(go|goes|went|gone) (by|on|out|through|past)\b"
    r"|\b(names|named) (it|by|in|a|another|which|one|them|files)\b",
    "one a digest": r"\b(one|file|fill|transfer|breaker|byte|mirror|container|line|message|name|thread|object|call)"
    r" an? (digest|name|registry|host|core|client|upstream|line|message|user|file|fill|request|call)\b",
    "metaphors": r"(?i)\b(flights?|custodian|wish(es|ed)?|tall(y|ies)|spill\w*|heir|fate|glance)\b",
    "headings": r"^#+ (What|How|Try|Set|Run|When|Whether|Looking|Moving|On a|Also|Not)\b",
}
# For code as it is written, with quotes.
SOURCE_PATTERNS = {
    "docstrings": r'^\s*"""(What|Whether|How|Where|Who|Whoever|When|Until|Those|All|So|It|Its|There)\b',
    "messages": r'[(=\s,]f?"(it|its|they) ',
}

# The most lines that may match. A ceiling may fall, and never rise.
DOCUMENT_CEILINGS = {
    "tell": 0,
    "whoever": 0,
    "mend": 0,
    "answer": 0,
    "folder": 0,
    "under way": 0,
    "beside": 1,
    "nothing but": 0,
    "word of": 0,
    "of its own": 1,
    "is to be": 0,
    "give back": 0,
    "go by": 1,
    "one a digest": 2,
    "metaphors": 0,
    "headings": 0,
}
SOURCE_CEILINGS = {
    "tell": 0,
    "whoever": 3,  # "anyone", a value of --access
    "mend": 0,
    "answer": 12,  # those of the set-up dialogue and of ACME challenges
    "folder": 0,
    "under way": 0,
    "beside": 0,
    "nothing but": 0,
    "word of": 1,
    "of its own": 0,
    "is to be": 0,
    "give back": 0,
    "go by": 3,
    "one a digest": 0,
    "metaphors": 2,  # single-flight
    "docstrings": 0,
    "messages": 0,
}


def report(found: list[tuple[Path, int, str]]) -> str:
    return "\n".join(f"{path.relative_to(ROOT)}:{number}: {line}" for path, number, line in found)


@pytest.mark.parametrize(("name", "ceiling"), DOCUMENT_CEILINGS.items())
def test_the_documents_stay_below_the_ceiling(name: str, ceiling: int) -> None:
    found = list(search(PATTERNS[name], DOCUMENTS))
    assert len(found) <= ceiling, report(found)


@pytest.mark.parametrize(("name", "ceiling"), SOURCE_CEILINGS.items())
def test_the_source_stays_below_the_ceiling(name: str, ceiling: int) -> None:
    if name in SOURCE_PATTERNS:
        found = list(search_source(SOURCE_PATTERNS[name], SOURCE))
    else:
        found = list(search(PATTERNS[name], SOURCE))
    assert len(found) <= ceiling, report(found)


def test_every_pattern_has_its_ceilings() -> None:
    assert DOCUMENT_CEILINGS.keys() == PATTERNS.keys()
    assert SOURCE_CEILINGS.keys() == {*PATTERNS, *SOURCE_PATTERNS} - {"headings"}


def test_prose_is_markdown_without_code(tmp_path: Path) -> None:
    path = tmp_path / "text.md"
    path.write_text("one\n```sh\ntold\n```\n`told` two\n")
    assert [line for _, line in prose(path) if line] == ["one", "`told` two"]
    assert list(search("told", [path])) == []
    assert list(search("two", [path])) == [(path, 5, "`told` two")]


def test_prose_is_the_strings_and_comments_of_python(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text('told = f"it is {told} to you"  # as before\nsql = "SELECT told FROM x"\n')
    assert [number for number, _ in prose(path)] == [1]
    assert [len(list(search(pattern, [tmp_path]))) for pattern in ("to you", "as before", "told")] == [
        1,
        1,
        0,
    ]
