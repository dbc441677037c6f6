"""The rows of `auth`."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from ..units import Kind, acl_topic, any_text, choice, flag, header_value, path, text, time, url, whole
from .row import ANYTHING, Row, ignored, tls_client, under

RULE = "auth.acl.rules[]"
_ALGORITHMS = (
    *("hs256", "hs384", "hs512"),
    *("rs256", "rs384", "rs512", "ps256", "ps384", "ps512"),
    *("es256", "es384", "es512", "eddsa"),
)


def rows() -> Iterator[Row]:
    everyone = "False: everyone may connect and do everything, and the rest of the section is not read."
    users = 'User name = password: plain, or a hash `$argon2...`. Usually `{ include "nanomq_pwd.conf" }`.'
    remembered = "NanoMQ: none without the section, 32 with it."
    forgotten = "A remembered decision holds until a reload."
    yield from under(
        "auth",
        Row("enable", flag(), "true", everyone, ours=True),
        Row("allow_anonymous", flag(), "true", "Allow clients without a user name."),
        Row("no_match", choice("allow", "deny"), "allow", "The decision when no access rule matches."),
        Row(
            "deny_action",
            choice("ignore", "disconnect"),
            "ignore",
            "What happens to a client whose PUBLISH is denied.",
        ),
        Row("password", text(secret=True), "", users, "map", differs="Hashes work too."),
        Row(
            "cache.max_size",
            whole(1),
            "1024",
            "Access decisions remembered for one client.",
            differs=remembered,
        ),
        ignored("cache.ttl", forgotten),
        reload=True,
    )
    yield from _acl()
    yield from _http_auth()
    yield from _jwt()


def _acl() -> Iterator[Row]:
    filled = "Topic filters; none: all topics; `@topic`: literal. `${clientid}`, `${username}`: the client's."
    yield Row("auth.acl.enable", flag(), "true", "False: no access rules.", reload=True)
    yield Row("auth.acl.rules", ANYTHING, "", "The first rule that matches decides.", "objects", reload=True)
    yield Row(
        "auth.acl.partial",
        choice("grant", "refuse"),
        "grant",
        "A subscription that is allowed only in part is granted without the rest, or refused.",
        ours=True,
        reload=True,
    )
    yield from under(
        RULE,
        Row("permit", choice("allow", "deny"), "", "Whether the rule allows or denies."),
        Row(
            "action",
            choice("publish", "subscribe", "pubsub"),
            "pubsub",
            "The action that the rule applies to.",
        ),
        Row("topics", acl_topic(), "", filled, "list"),
        Row("username", text(), "", "The user name; `#`: every user."),
        Row("clientid", text(), "", "The client identifier; `#`: every client."),
        Row("ipaddr", _ip(), "", "The client's address, or a network that contains it."),
        Row("ipaddrs", _ip(), "", "Several addresses or networks.", "list"),
        Row("and", ANYTHING, "", "Conditions that must all hold.", "objects", items=RULE),
        Row("or", ANYTHING, "", "Conditions of which one must hold.", "objects", items=RULE),
        reload=True,
    )


def _ip() -> Kind:
    def parse(value: str) -> str:
        ipaddress.ip_network(value, strict=False)
        return value

    return Kind("IP address", "an IP address or network such as 10.0.0.7 or 10.0.0.0/8", parse)


def _http_auth() -> Iterator[Row]:
    kept = "How long an answer is kept. 0: logins are not kept, topics for the length of a connection."
    yield from under(
        "auth.http_auth",
        Row("enable", flag(), "true", "False: ignore the section.", ours=True),
        Row("timeout", time(0.001), "5s", "How long an answer may take."),
        Row("connect_timeout", time(0.001), "5s", "How long it may take to connect."),
        Row("pool_size", whole(1, 10_000), "32", "Parallel requests."),
        Row("cache_ttl", time(), "0s", kept),
        reload=True,
    )
    yield from _http_request("auth_req", "Requested at CONNECT; only status 200 accepts the client.")
    yield from _http_request(
        "super_req", "Requested at CONNECT; status 200 frees the client from access checks."
    )
    yield from _http_request("acl_req", "Requested at PUBLISH and SUBSCRIBE; only status 200 allows.")


def _http_request(name: str, words: str) -> Iterator[Row]:
    prefix = f"auth.http_auth.{name}"
    fields = "Form fields (post) or query (get), with the placeholders `%u %c %a %P %p %C %d %t %A %r %m`."
    yield from under(
        prefix,
        Row("enable", flag(), "true", "False: ignore the section.", ours=True),
        Row("url", url(), "", words, environ=True),
        Row("method", choice("post", "get"), "post", "The method of the request."),
        Row("headers", header_value(), "", "Headers of the request.", "map", environ=True),
        Row("params", any_text(), "", fields, "map"),
        reload=True,
    )
    yield from tls_client(f"{prefix}.tls", reload=True)


def _jwt() -> Iterator[Row]:
    only = "The accepted algorithms; by default HS256 with a secret, RS256 with a public key."
    yield from under(
        "auth.jwt",
        Row("enable", flag(), "true", "False: ignore the section."),
        Row("algorithms", choice(*_ALGORITHMS), "", only, "list"),
        Row("secret", text(secret=True), "", "The secret for HS256, HS384 and HS512.", environ=True),
        Row("public.keyfile", path(), "", "The public key for the other algorithms, PEM."),
        Row("username_claim", text(), "sub", "The claim that must be the user name."),
        Row("audience", text(), "", "The required value of `aud`."),
        Row("issuer", text(), "", "The required value of `iss`."),
        ours=True,
        reload=True,
    )
