"""Makes access control from `auth {}`."""

from __future__ import annotations

from ..clock import Clock
from ..config.settings import AuthSettings
from ..engine.access import AccessControl, Authenticator, Authorizer, Credentials
from ..packets.reasons import ReasonCode
from ..routing.shared import MayReceive
from ..session.session import Session
from .acl import Acl
from .http_auth import HttpAuth, PortOf
from .http_client import HttpClient
from .jwt import Jwt


class Access:
    """The authenticators and authorizers of access control, in the order in which they are asked: tokens, the
    plugins (`auth.password` is one of them), whether a name is needed at all, and last, because it takes
    longest, another server.

    A client with a user name must be accepted by one of them, and by each that has an opinion. Raises
    AccessError if a key or certificate cannot be used.
    """

    def __init__(
        self, auth: AuthSettings, clock: Clock, port_of: PortOf, *, plugins_check_names: bool = False
    ) -> None:
        self._auth = auth
        self._first: tuple[Authenticator, ...] = ()
        self._last: tuple[Authenticator, ...] = ()
        self._authorizers: tuple[Authorizer, ...] = ()
        self._http: HttpClient | None = None
        http = auth.http_auth
        self.answers_hold = http.cache_ttl if http and http.acl_req else 0.0
        """Seconds after which answers about topics expire; 0: never."""
        checks_names = plugins_check_names or auth.passwords or auth.jwt or (http and http.auth_req)
        if auth.jwt is not None:
            self._first += (Jwt(auth.jwt),)
        self._last += (_Nameless(auth.allow_anonymous, alone=not checks_names),)
        if http is not None:
            self._http = HttpClient(http, clock)
            server = HttpAuth(http, self._http, port_of)
            if http.auth_req or http.super_req:
                self._last += (server.authenticate,)
            if http.acl_req:
                self._authorizers += (server.authorize,)

    def install(
        self,
        access: AccessControl,
        plugin_authenticators: tuple[Authenticator, ...],
        plugin_authorizers: tuple[Authorizer, ...],
    ) -> MayReceive[Session] | None:
        """Install these in ``access``, with the plugins between them. Returns the function that decides who
        may receive a topic; None: everybody may."""
        auth = self._auth
        access.authenticators = (*self._first, *plugin_authenticators, *self._last)
        access.authorizers = (*self._authorizers, *plugin_authorizers)
        may_receive = None
        if auth.acl_enable and auth.acl:
            alone = not access.authorizers
            refuse_parts = auth.acl_partial == "refuse"
            acl = Acl(auth.acl, refuse_parts=refuse_parts, rest=auth.no_match == "allow" if alone else None)
            access.authorizers = (acl, *access.authorizers)
            may_receive = None if refuse_parts else acl.may_receive
        access.no_match = auth.no_match == "allow"
        access.deny_disconnects = auth.deny_action == "disconnect"
        access.max_remembered = auth.cache_max_size
        return may_receive

    async def close(self, *, finish: bool = False) -> None:
        """Close the connections to other servers; with ``finish``, after they have answered."""
        if self._http is not None:
            await self._http.close(finish=finish)


class _Nameless:
    """`auth.allow_anonymous`: whether clients without a user name may connect. It has no opinion on the
    others, unless nothing checks user names; then these count as anonymous."""

    def __init__(self, allowed: bool, *, alone: bool) -> None:
        self._allowed = allowed
        self._alone = alone

    def __call__(self, credentials: Credentials) -> ReasonCode | None:
        if credentials.client.username is None:
            return ReasonCode.SUCCESS if self._allowed else ReasonCode.NOT_AUTHORIZED
        return ReasonCode.SUCCESS if self._allowed and self._alone else None
