"""Coverage-guided fuzzing of one parser with atheris, until it fails or the time is over: see `make fuzz`."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path


def main() -> None:
    """Fuzz the parser of the command line. An input that makes it fail is stored next to the corpus."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("parser")
    arguments.add_argument("--seconds", type=int, default=60)
    arguments.add_argument(
        "--corpus", type=Path, required=True, help="a directory for the inputs that were found"
    )
    options = arguments.parse_args()
    atheris = importlib.import_module("atheris")  # an optional package, without types
    with atheris.instrument_imports(include=["registry_proxy"]):
        parsers = importlib.import_module("tests.fuzz.parsers")
    names = {parser.name.replace(" ", "-"): parser for parser in parsers.PARSERS}
    if options.parser not in names:
        sys.exit(f"no parser {options.parser!r}; there are: {', '.join(names)}")
    parser = names[options.parser]
    options.corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(parser.seeds):
        (options.corpus / f"seed-{number}").write_bytes(seed)
    dictionary = options.corpus.with_suffix(".dict")
    dictionary.write_text("".join(f'"{_escaped(piece)}"\n' for piece in parser.pieces))
    limits = [f"-max_total_time={options.seconds}", f"-max_len={parser.longest}", "-timeout=10"]
    limits.append(f"-artifact_prefix={options.corpus}-")
    atheris.Setup([sys.argv[0], *limits, f"-dict={dictionary}", str(options.corpus)], parser)
    atheris.Fuzz()


def _escaped(piece: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in piece)


if __name__ == "__main__":
    main()
