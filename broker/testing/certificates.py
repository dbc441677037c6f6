"""Certificates for tests: one authority and one server certificate for each run of the tests."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from .folder import folder


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files, removed when the process ends."""

    cafile: Path
    """What clients trust."""
    certfile: Path
    keyfile: Path


@cache
def certificate(host: str) -> Certificate:
    """For ``host``, localhost and the loopback addresses. Raises ImportError where trustme is missing."""
    try:
        import trustme
    except ImportError:
        raise ImportError(
            "tls=True makes certificates with trustme, which is missing: pip install 'pybroker[testing]'"
        ) from None
    own = Path(mkdtemp(prefix="tls-", dir=folder()))
    made = Certificate(own / "ca.pem", own / "cert.pem", own / "key.pem")
    authority = trustme.CA()
    names = dict.fromkeys(["localhost", "127.0.0.1", "::1", host])
    names.pop("0.0.0.0", None)  # noqa: S104 - no name that a client could ask for
    names.pop("::", None)
    issued = authority.issue_cert(*names)
    authority.cert_pem.write_to_path(made.cafile)
    issued.private_key_pem.write_to_path(made.keyfile)
    with made.certfile.open("wb") as file:
        file.writelines(blob.bytes() for blob in issued.cert_chain_pems)
    return made
