"""`auth {}` to settings."""

from __future__ import annotations

from types import MappingProxyType

from pybroker.webhook.settings import TlsClient

from .reader import Report, Values, existing_file, is_off, read
from .settings import (
    AclRule,
    AuthSettings,
    HttpAuthSettings,
    HttpRequestSettings,
    JwtSettings,
)
from .tree import Section, Text

EVERYONE = "#"
_REQUESTS = ("auth_req", "super_req", "acl_req")


def auth(section: Section, report: Report) -> AuthSettings:
    """The access settings; errors go to the report."""
    if is_off(section):
        report.warn(
            section.values["enable"].place, "auth.enable", "false: everyone may connect and do everything"
        )
        return AuthSettings()
    _switch_of_passwords(section, report)
    values = read(_with_one_spelling_of_tls(section), "auth", report)
    return AuthSettings(
        allow_anonymous=values["allow_anonymous"],
        no_match=values["no_match"],
        deny_action=values["deny_action"],
        passwords=MappingProxyType(dict(values["password"])),
        acl_enable=not (acl := section.section("acl")) or not is_off(acl),
        acl=tuple(_rule(rule, report) for rule in values["acl.rules"]),
        acl_partial=values["acl.partial"],
        cache_max_size=values["cache.max_size"],
        http_auth=_http_auth(values, report) if "http_auth" in values else None,
        jwt=_jwt(values, report) if "jwt" in values else None,
    )


def _rule(values: Values, report: Report) -> AclRule:
    if "permit" not in values:
        report.error(values.place, f"{values.name}.permit", "missing: allow or deny")
    return _condition(values, values["permit"] or "deny", report)


def _condition(values: Values, permit: str, report: Report) -> AclRule:
    for key in ("ipaddrs", "or"):  # without them the rule would apply to everybody
        if values.is_empty(key):
            message = "empty: the rule would match no client; leave the key out, or name at least one"
            report.error(values.place_of(key), f"{values.name}.{key}", message)
    single = (values["ipaddr"],) if "ipaddr" in values else ()
    return AclRule(
        permit,
        values["action"],
        values["topics"],
        _unless_everyone(values["username"]),
        _unless_everyone(values["clientid"]),
        single + values["ipaddrs"],
        all_of=tuple(_condition(below, permit, report) for below in values["and"]),
        any_of=tuple(_condition(below, permit, report) for below in values["or"]),
    )


def _unless_everyone(name: str | None) -> str | None:
    return None if name == EVERYONE else name


def _with_one_spelling_of_tls(section: Section) -> Section:
    """`ssl {}` of a request, as in NanoMQ's code, is read as `tls {}`, as in its documents."""
    http_auth = section.section("http_auth")
    if http_auth is not None:
        for name in _REQUESTS:
            request = http_auth.section(name)
            if request is not None and "ssl" in request.values and "tls" not in request.values:
                request.values["tls"] = request.values.pop("ssl")
    return section


def _switch_of_passwords(section: Section, report: Report) -> None:
    """`enable` without quotes among the users is NanoMQ's switch for all of them, and not a user."""
    users = section.section("password")
    switch = users.values.get("enable") if users else None
    if users is None or not isinstance(switch, Text) or switch.quoted or switch.text not in ("true", "false"):
        return
    del users.values["enable"]
    if switch.text == "false":
        del section.values["password"]
        report.warn(switch.place, "auth.password.enable", "false: all users are off")


def _http_auth(values: Values, report: Report) -> HttpAuthSettings:
    prefix = "http_auth"
    requests = {name: _request(values, f"{prefix}.{name}", report) for name in _REQUESTS}
    if not any(requests.values()):
        report.warn(
            values.place_of(prefix), f"auth.{prefix}", "auth_req, super_req and acl_req are all missing"
        )
    _warn_of_placeholders(values, report)
    return HttpAuthSettings(
        **requests,
        timeout=values[f"{prefix}.timeout"],
        connect_timeout=values[f"{prefix}.connect_timeout"],
        pool_size=values[f"{prefix}.pool_size"],
        cache_ttl=values[f"{prefix}.cache_ttl"],
    )


def _warn_of_placeholders(values: Values, report: Report) -> None:
    key = "http_auth.acl_req.params"
    unknown = [
        placeholder
        for placeholder in ("%P", "%C", "%d")
        if any(placeholder in text for _, text in values[key])
    ]
    if unknown:
        report.warn(
            values.place_of(key),
            f"auth.{key}",
            f"{' and '.join(unknown)} will be empty: only auth_req and super_req have those",
        )


def _request(values: Values, key: str, report: Report) -> HttpRequestSettings | None:
    if key not in values:
        return None
    if f"{key}.url" not in values:
        report.error(values.place_of(key), f"auth.{key}.url", "missing: the URL of the request")
        return None
    tls = None
    if f"{key}.tls" in values:
        tls = TlsClient(
            existing_file(values, f"{key}.tls.keyfile", report),
            existing_file(values, f"{key}.tls.certfile", report),
            existing_file(values, f"{key}.tls.cacertfile", report),
            values[f"{key}.tls.key_password"],
            values[f"{key}.tls.verify"],
        )
    return HttpRequestSettings(
        values[f"{key}.url"], values[f"{key}.method"], values[f"{key}.headers"], values[f"{key}.params"], tls
    )


def _jwt(values: Values, report: Report) -> JwtSettings:
    secret, keyfile = values["jwt.secret"], existing_file(values, "jwt.public.keyfile", report)
    algorithms = tuple("EdDSA" if name == "eddsa" else name.upper() for name in values["jwt.algorithms"])
    place = values.place_of("jwt")
    by_secret, by_key = "jwt.secret" in values, "jwt.public.keyfile" in values
    if by_secret == by_key:
        report.error(place, "auth.jwt", "needs either secret or public.keyfile" + ", not both" * by_secret)
    for name in algorithms:
        # A public key taken for a shared secret lets everyone who has it sign tokens.
        if name.startswith("HS") == by_key and by_secret != by_key:
            fit = "a secret" if name.startswith("HS") else "a public key"
            report.error(
                values.place_of("jwt.algorithms"), "auth.jwt.algorithms", f'found "{name}"; it needs {fit}'
            )
    return JwtSettings(
        algorithms or (("HS256",) if by_secret else ("RS256",)),
        secret,
        keyfile,
        values["jwt.username_claim"],
        values["jwt.audience"],
        values["jwt.issuer"],
    )
