"""The account at an ACME server, kept on disk."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec
from josepy.errors import DeserializationError
from josepy.jwk import JWKEC

from registry_proxy.tls.files import write_private

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Account:
    """A key, and the address that the server has given it; None while it is not registered."""

    key: JWKEC
    address: str | None = None

    @classmethod
    def load(cls, path: Path) -> Account:
        """The account in a file, or a new one, which is not registered. Raises OSError, ValueError."""
        try:
            document = json.loads(path.read_text())
            key, address = JWKEC.from_json(document["key"]), document["address"]
            assert isinstance(key, JWKEC)
        except FileNotFoundError:
            return cls(JWKEC(key=ec.generate_private_key(ec.SECP256R1())))
        except (AssertionError, KeyError, TypeError, ValueError, DeserializationError):
            raise ValueError(f"{path} holds no account; delete it to make a new one") from None
        return cls(key, address)

    def save(self, path: Path) -> None:
        """Keep it. Raises OSError."""
        document = {"key": self.key.to_json(), "address": self.address}
        write_private(path, json.dumps(document).encode())
