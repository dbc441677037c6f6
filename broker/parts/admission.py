"""The part for `auth {}` and `plugins {}`: sets up access control, and changes it at a reload."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..access.build import Access
from ..access.errors import AccessError
from ..access.http_auth import PortOf
from ..clock import Timer
from ..config.settings import AuthSettings, Settings
from ..engine.access import Authenticator, Authorizer
from ..engine.engine import Engine
from ..part import Apply, Part
from ..routing.shared import MayReceive
from ..session.session import Session

if TYPE_CHECKING:
    from ..plugins.amqtt_host import Broker


class Admission(Part):
    """The access control of one engine. Raises AccessError or PluginError if `auth` or a plugin cannot be
    used."""

    def __init__(self, engine: Engine, settings: Settings, port_of: PortOf) -> None:
        self._engine = engine
        self._port_of = port_of
        self.plugins: Broker | None = None
        """amqtt's broker, which hosts the plugins; None if no plugin is needed."""
        self._authenticators: tuple[Authenticator, ...] = ()
        self._authorizers: tuple[Authorizer, ...] = ()
        self._may_receive: MayReceive[Session] | None = None
        """The plugins' decision about receiving a topic."""
        self._timer: Timer | None = None
        if settings.plugins:
            self._load_plugins(settings)
        self.access = self.make_ready(settings)
        self.use(settings, self.access)

    def make_ready(self, settings: Settings) -> Access:
        """Prepare the settings for :meth:`use`, and change nothing yet. Raises AccessError."""
        if settings.auth.passwords:
            from ..plugins.amqtt_auth import check_passwords

            try:
                check_passwords(settings.auth.passwords)
            except ValueError as error:
                raise AccessError(f"auth.password: {error}") from None
        plugins = self.plugins
        checks_names = plugins is not None and plugins.checks_names
        return Access(settings.auth, self._engine.clock, self._port_of, plugins_check_names=checks_names)

    async def prepare(self, settings: Settings) -> Apply:
        access = self.make_ready(settings)

        def apply() -> None:
            before = self.use(settings, access)
            self._engine.spawn(before.close(finish=True), lambda _: None)

        return apply

    def use(self, settings: Settings, access: Access) -> Access:
        """Use these authenticators and authorizers from now on, and forget all answers. Returns the previous
        ones, to be closed."""
        if self.plugins is not None:
            self.plugins.reload(_without_anonymous(settings.auth))
        elif settings.auth.passwords:
            self._load_plugins(replace(settings, plugins={}))
        self._offer_scram(settings)
        before, self.access = self.access, access
        by_rules = access.install(self._engine.access, self._authenticators, self._authorizers)
        self._engine.router.screen(_both(by_rules, self._may_receive))
        if self._timer is not None:
            self._timer.cancel()
        self._forget_in_time()
        return before

    async def stop(self, grace: float | None) -> list[str]:
        await self.access.close()
        return []

    def _forget_in_time(self) -> None:
        """Forget all answers, now and whenever those about topics expire."""
        self._engine.forget_answers()
        if self.access.answers_hold:
            due = self._engine.clock.monotonic() + self.access.answers_hold
            self._timer = self._engine.clock.call_at(due, self._forget_in_time)

    def _offer_scram(self, settings: Settings) -> None:
        """Let 5.0 clients authenticate by SCRAM with a password of `auth.password`, unless other
        authenticators may decide: these need the password itself."""
        methods = self._engine.auth_methods
        methods.clear()
        auth = settings.auth
        if auth.passwords and not (auth.http_auth or auth.jwt or settings.plugins):
            from ..engine import scram

            methods[scram.NAME] = scram.ScramSha256(settings.auth.passwords)

    def _load_plugins(self, settings: Settings) -> None:
        from ..plugins.amqtt_host import load_plugins  # costs a start without plugins nothing

        control = self._engine.access
        control.authenticators, control.authorizers = (), ()
        self._engine.router.screen(None)
        self.plugins = load_plugins(self._engine, replace(settings, auth=_without_anonymous(settings.auth)))
        self._authenticators, self._authorizers = control.authenticators, control.authorizers
        self._may_receive = self._engine.router.may_receive


def _both(
    rules: MayReceive[Session] | None, plugins: MayReceive[Session] | None
) -> MayReceive[Session] | None:
    """The combined decision about receiving a topic; None if neither decides."""
    if rules is None or plugins is None:
        return rules or plugins
    return lambda session, topic: rules(session, topic) and plugins(session, topic)


def _without_anonymous(auth: AuthSettings) -> AuthSettings:
    """amqtt's plugin for anonymous clients accepts everyone whom no other plugin refuses, even clients with
    an unknown user name. This one accepts only clients without a user name."""
    return replace(auth, allow_anonymous=False)
