"""A security key in software: registers and signs as WebAuthn wants it."""

from __future__ import annotations

import hashlib
import json
import os
from base64 import urlsafe_b64encode
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fido2.cose import ES256
from fido2.webauthn import AttestationObject, AttestedCredentialData, AuthenticatorData


def b64(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


class SoftKey:
    """One credential for one site."""

    def __init__(self, *, rp_id: str = "testserver", origin: str = "http://testserver") -> None:
        self._private = ec.generate_private_key(ec.SECP256R1())
        self._id = os.urandom(16)
        self._rp_hash = hashlib.sha256(rp_id.encode()).digest()
        self._origin = origin
        self._counter = 0
        self._user_handle = b""

    def register(self, options: dict[str, Any]) -> str:
        """The credential as JSON, in answer to the page's creation options."""
        asked = options["publicKey"]
        self._user_handle = asked["user"]["id"].encode()
        client = self._client_data("webauthn.create", asked["challenge"])
        flags = AuthenticatorData.FLAG
        data = AuthenticatorData.create(
            self._rp_hash,
            flags.UP | flags.UV | flags.AT,
            self._counter,
            AttestedCredentialData.create(
                b"\0" * 16, self._id, ES256.from_cryptography_key(self._private.public_key())
            ),
        )
        attestation = AttestationObject.create("none", data, {})
        return self._answer({"clientDataJSON": b64(client), "attestationObject": b64(bytes(attestation))})

    def sign(self, options: dict[str, Any]) -> str:
        """The assertion as JSON, in answer to the page's request options."""
        self._counter += 1
        client = self._client_data("webauthn.get", options["publicKey"]["challenge"])
        flags = AuthenticatorData.FLAG
        data = AuthenticatorData.create(self._rp_hash, flags.UP | flags.UV, self._counter)
        signature = self._private.sign(
            bytes(data) + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256())
        )
        return self._answer(
            {
                "clientDataJSON": b64(client),
                "authenticatorData": b64(bytes(data)),
                "signature": b64(signature),
                "userHandle": self._user_handle.decode(),
            }
        )

    def _client_data(self, kind: str, challenge: str) -> bytes:
        return json.dumps({"type": kind, "challenge": challenge, "origin": self._origin}).encode()

    def _answer(self, response: dict[str, str]) -> str:
        return json.dumps(
            {
                "id": b64(self._id),
                "rawId": b64(self._id),
                "type": "public-key",
                "response": response,
                "clientExtensionResults": {"credProps": {"rk": True}},
            }
        )
