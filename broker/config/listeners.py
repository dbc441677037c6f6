"""`listeners {}` to settings: the addresses that accept clients."""

from __future__ import annotations

from .reader import Report, Values, existing_file, is_off, read
from .schema import ROWS
from .settings import ListenerSettings, TlsServer
from .tree import Place, Section, describe
from .units import Address

TYPES = ("tcp", "ssl", "ws", "wss", "unix")
_TLS_KEYS = ("keyfile", "certfile", "cacertfile", "key_password", "verify_peer", "fail_if_no_peer_cert")


def listeners(root: Section, report: Report) -> tuple[tuple[ListenerSettings, Place], ...]:
    """Every listener that is on, and where it is written. Without the section: TCP on the loopback
    address."""
    section = root.section("listeners")
    if section is None:
        return ((ListenerSettings("tcp", "tcp"), root.place),)
    found = []
    report.missing(section, "listeners")
    for kind, node in section.values.items():
        if kind not in TYPES:
            report.unknown(node, f"listeners.{kind}", [f"listeners.{known}" for known in TYPES])
        elif not isinstance(node, Section):
            report.error(node.place, f"listeners.{kind}", f"found {describe(node)}; allowed: a section {{ }}")
        elif not is_off(node):
            found += [
                _listener(kind, name, values, section, report)
                for name, values in _sections(kind, node, report)
            ]
    if not found and not report.errors:
        report.error(section.place, "listeners", "every listener is off, so no client could connect")
    _check_addresses(found, report)
    return tuple(found)


def _sections(kind: str, section: Section, report: Report) -> list[tuple[str, Values]]:
    """``listeners.tcp`` itself, if it has keys of its own or nothing else, and each
    ``listeners.tcp.NAME``."""
    schema = f"listeners.{kind}"
    named = {
        name: node
        for name, node in section.values.items()
        if isinstance(node, Section) and f"{schema}.{name}" not in ROWS
    }
    own = {key: node for key, node in section.values.items() if key not in named}
    found = []
    if own.keys() - {"enable"} or not named:
        found.append((kind, read(Section(section.place, own, section.missing), schema, report)))
    for name, node in named.items():
        if not is_off(node):
            found.append((f"{kind}.{name}", read(node, schema, report, f"{schema}.{name}")))
    return found


def _listener(
    kind: str, name: str, values: Values, section: Section, report: Report
) -> tuple[ListenerSettings, Place]:
    place = values.place_of("bind")
    common = {
        "max_connections": values["max_connections"],
        "connect_rate": values["connect_rate"],
        "backlog": values["backlog"],
    }
    if kind == "unix":
        path = values["path"] or values["bind"]
        if path is None:
            report.error(place, f"{values.name}.path", "missing: the file of the socket")
        return ListenerSettings(name, kind, host="", port=0, path=path or "", **common), place
    address: Address = values["bind"]
    secure = kind in ("ssl", "wss")
    tls = _tls(values, section, report) if secure else None
    if secure and values["peer_cert_as_username"] and tls is not None and not tls.verify_peer:
        report.error(
            values.place_of("peer_cert_as_username"),
            f"{values.name}.peer_cert_as_username",
            "needs verify_peer = true: without it no client shows a certificate",
        )
    listener = ListenerSettings(
        name,
        kind,
        address.host,
        address.port,
        address.path,
        tls=tls,
        proxy_protocol=values["proxy_protocol"],
        peer_cert_as_username=values["peer_cert_as_username"] if secure else None,
        **common,
    )
    return listener, place


def _tls(values: Values, section: Section, report: Report) -> TlsServer | None:
    """The listener; None after an error. A wss listener without a certificate has that of ``listeners.ssl``,
    with its other keys as defaults."""
    if values.schema == "listeners.wss" and "certfile" not in values and "keyfile" not in values:
        shared = section.section("ssl")
        if shared is not None:
            keys = {key: node for key, node in shared.values.items() if key in _TLS_KEYS}
            values = read(Section(shared.place, keys), "listeners.ssl", report).overlaid(values, _TLS_KEYS)
    return tls_server(values, report)


def tls_server(values: Values, report: Report) -> TlsServer | None:
    """The certificate of an address; None after an error."""
    for key in ("certfile", "keyfile"):
        if key not in values:
            report.error(values.place, f"{values.name}.{key}", "missing: TLS needs a certificate and its key")
    certfile, keyfile = (existing_file(values, f"{name}file", report) for name in ("cert", "key"))
    cacertfile = existing_file(values, "cacertfile", report, needed=values["verify_peer"])
    if values["verify_peer"] and "cacertfile" not in values:
        report.error(
            values.place_of("verify_peer"),
            f"{values.name}.cacertfile",
            "missing: verify_peer = true needs the CA certificates of client certificates",
        )
    if values["fail_if_no_peer_cert"] and not values["verify_peer"]:
        report.warn(
            values.place_of("fail_if_no_peer_cert"),
            f"{values.name}.fail_if_no_peer_cert",
            "has no effect without verify_peer = true",
        )
    if certfile is None or keyfile is None:
        return None
    return TlsServer(
        certfile,
        keyfile,
        cacertfile,
        values["key_password"],
        values["verify_peer"],
        values["fail_if_no_peer_cert"],
    )


def _check_addresses(found: list[tuple[ListenerSettings, Place]], report: Report) -> None:
    """Report two listeners on one address. Here the lines are known; a failing bind would not know them."""
    taken: dict[tuple[str, int, str], str] = {}
    for listener, place in found:
        if listener.type == "unix":
            address = ("unix", 0, listener.path)
        elif listener.port:
            address = (listener.host, listener.port, "")
        else:
            continue
        other = taken.setdefault(address, listener.name)
        if other != listener.name:
            shown = listener.path if listener.type == "unix" else f"{listener.host}:{listener.port}"
            report.error(
                place, f"listeners.{listener.name}", f"{shown} is the address of listeners.{other} already"
            )
