"""JSON documents of other programs, decoded into declared types."""

from __future__ import annotations

from typing import TypeVar

import msgspec

Document = TypeVar("Document")


class InvalidDocumentError(ValueError):
    """The bytes are not a JSON document of the declared type, or it is nested too deeply."""


def decode_document(raw: bytes, kind: type[Document]) -> Document:
    """Return the document. Raise InvalidDocumentError, also for a nesting that exceeds Python's stack."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidDocumentError(str(error)) from None
