"""The keys by which the audit log of a state is signed, and by which anybody checks it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from self_healing.errors import StateError

KEY: Final = "audit.key"
PUBLIC: Final = "audit.pub"
"""The keys, in the state directory."""


def private(state_dir: Path) -> Any:
    """The private key of a state; made with it, with its public key beside it. Raises StateError."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    path = state_dir / KEY
    if not path.exists():
        wrong = problem(state_dir)
        if wrong:
            raise StateError(wrong)
        made = Ed25519PrivateKey.generate()
        pem = made.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        public = made.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
            os.fsync(file.fileno())
        (state_dir / PUBLIC).write_bytes(public)
        return made
    return _loaded(path)


def public(state_dir: Path) -> Any:
    """The public key; what is wrong where there is none."""
    from cryptography.hazmat.primitives import serialization

    try:
        return serialization.load_pem_public_key((state_dir / PUBLIC).read_bytes())
    except (OSError, ValueError) as error:
        return f"{PUBLIC} cannot be used: {error}"


def problem(state_dir: Path) -> str | None:
    """Why a service could not sign with what is there; None where it can, or would make a key."""
    path = state_dir / KEY
    if not path.exists():
        gone = (state_dir / PUBLIC).exists()
        return f"{path} is gone; restore it, or move {PUBLIC} away to go on with another key" if gone else None
    try:
        _loaded(path)
    except StateError as error:
        return str(error)
    return None


def _loaded(path: Path) -> Any:
    from cryptography.hazmat.primitives import serialization

    try:
        return serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError) as error:
        raise StateError(f"{path} is not the key that was made: {error}; restore it") from error
