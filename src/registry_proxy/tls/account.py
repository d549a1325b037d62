"""Account at a CA, stored on disk."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec
from josepy.errors import DeserializationError
from josepy.jwk import JWKEC

from registry_proxy.atomic_files import write_private

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Account:
    """An account's key and URL (RFC 8555, section 7.3). `address` is None until the account is registered."""

    key: JWKEC
    address: str | None = None

    @classmethod
    def load(cls, path: Path) -> Account:
        """Return the account stored in a file, or a new, unregistered one. Raise OSError or ValueError."""
        try:
            document = json.loads(path.read_text())
            key, address = JWKEC.from_json(document["key"]), document["address"]
            assert isinstance(key, JWKEC)
        except FileNotFoundError:
            return cls(JWKEC(key=ec.generate_private_key(ec.SECP256R1())))
        except (AssertionError, KeyError, TypeError, ValueError, DeserializationError):
            raise ValueError(f"{path} is not an account file; delete it to create a new account") from None
        return cls(key, address)

    def save(self, path: Path) -> None:
        """Write the account to a file. Raise OSError."""
        document = {"key": self.key.to_json(), "address": self.address}
        write_private(path, json.dumps(document).encode())
