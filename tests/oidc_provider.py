"""An OpenID Connect provider in a thread: discovery, keys, authorization, tokens (RS256, PKCE), user info."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

CLIENT_ID = "darkroom"
CLIENT_SECRET = "oidc-secret"
_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


class OidcProvider(ThreadingHTTPServer):
    """Answers for one person at a time: whoever comes is `claims`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.claims: dict[str, Any] = {"sub": "u1", "email": "dora@acme.example", "email_verified": True}
        self.token_claims: dict[str, Any] = {}
        """What the id token says otherwise than it should."""
        self.discovery: dict[str, str] = {}
        """What the discovery document says otherwise than it should."""
        self.codes: dict[str, str] = {}
        """Code to PKCE challenge."""

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def authorize(self, address: str) -> str:
        """What the person's browser does there: sign in and come back; returns where it is sent."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert asked["client_id"] == CLIENT_ID and asked["code_challenge_method"] == "S256"
        code = uuid4().hex
        self.codes[code] = asked["code_challenge"]
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def id_token(self) -> str:
        """Signed for our client, but for what `token_claims` changes."""
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "iat": int(time.time()),
            "exp": int(time.time()) + 300,
        }
        return jwt.encode(
            claims | self.claims | self.token_claims, _KEY, algorithm="RS256", headers={"kid": "k1"}
        )


class _Handler(BaseHTTPRequestHandler):
    server: OidcProvider

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: tests are quiet."""

    def _answer(self, body: dict[str, Any], status: int = 200) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        issuer = self.server.issuer
        if self.path == "/.well-known/openid-configuration":
            self._answer(
                {
                    "issuer": issuer,
                    "authorization_endpoint": f"{issuer}/authorize",
                    "token_endpoint": f"{issuer}/token",
                    "userinfo_endpoint": f"{issuer}/userinfo",
                    "jwks_uri": f"{issuer}/keys",
                    "token_endpoint_auth_methods_supported": ["client_secret_post"],
                }
                | self.server.discovery
            )
        elif self.path == "/keys":
            key = json.loads(RSAAlgorithm.to_jwk(_KEY.public_key()))
            self._answer({"keys": [key | {"kid": "k1", "alg": "RS256", "use": "sig"}]})
        elif self.path == "/userinfo" and self.headers["Authorization"] == "Bearer access":
            self._answer(self.server.claims)
        else:
            self._answer({"error": "not_found"}, 404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        sent = {name: values[0] for name, values in parse_qs(body).items()}
        challenge = self.server.codes.pop(sent.get("code", ""), None)
        digest = hashlib.sha256(sent.get("code_verifier", "").encode()).digest()
        proof = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if challenge is None or proof != challenge or sent.get("client_secret") != CLIENT_SECRET:
            self._answer({"error": "invalid_grant"}, 400)
            return
        self._answer({"access_token": "access", "token_type": "Bearer", "id_token": self.server.id_token()})


@contextmanager
def running() -> Iterator[OidcProvider]:
    """The provider, listening until the block ends."""
    with OidcProvider() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
