"""`http_server.auth_type = jwt`: bearer tokens, signed with a configured key."""

from __future__ import annotations

from pathlib import Path

from ..access.errors import AccessError
from .answers import Code, Refused

KEY = "http_server.jwt.public.keyfile"


class Tokens:
    """Checks tokens with one public key. The key decides on the algorithm, not the token."""

    def __init__(self, keyfile: Path) -> None:
        """Raises AccessError if the key cannot be used, or PyJWT is not installed."""
        try:
            import jwt
            from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
            from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
            from cryptography.hazmat.primitives.serialization import load_pem_public_key
        except ImportError:
            raise AccessError(
                "http_server.auth_type = jwt needs PyJWT: pip install 'pybroker[jwt]'"
            ) from None
        try:
            self._key = load_pem_public_key(keyfile.read_bytes())
        except OSError as error:
            raise AccessError(f"{KEY}: {keyfile}: {error.strerror}") from None
        except ValueError:
            raise AccessError(f"{KEY}: {keyfile}: no public key in PEM form") from None
        if isinstance(self._key, RSAPublicKey):
            self._algorithm = "RS256"
        elif isinstance(self._key, EllipticCurvePublicKey) and isinstance(self._key.curve, SECP256R1):
            self._algorithm = "ES256"
        else:
            raise AccessError(f"{KEY}: {keyfile}: neither an RSA key nor an EC key of the curve P-256")
        self._jwt = jwt

    def check(self, token: str) -> bool:
        """Whether its bearer may also change something: a token whose ``scope`` names ``read`` and not
        ``write`` may not. Signature, ``exp`` and ``nbf`` are checked, and ``exp`` must be there. Raises
        Refused."""
        jwt = self._jwt
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=[self._algorithm],
                options={"require": ["exp"], "verify_aud": False},
            )
        except jwt.ExpiredSignatureError:
            raise Refused(401, Code.TOKEN_EXPIRED) from None
        except (jwt.InvalidTokenError, ValueError):
            raise Refused(401, Code.WRONG_CREDENTIALS) from None
        scope = claims.get("scope")
        if scope is None:
            return True
        return isinstance(scope, str) and "write" in scope.split()
