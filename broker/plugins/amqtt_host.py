"""An amqtt broker on top of our engine.

amqtt's configuration, ``BrokerContext``, ``PluginManager`` and plugins run unchanged; connections,
routing and delivery are the engine's.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import amqtt.broker
from amqtt.adapters import ReaderAdapter, StreamWriterAdapter, WebSocketsWriter, WriterAdapter
from amqtt.broker import DEFAULT_PORTS
from amqtt.contexts import BrokerConfig, ListenerConfig, ListenerType, default_broker_plugins
from amqtt.errors import BrokerError
from amqtt.events import BrokerEvents, MQTTEvents
from amqtt.plugins.authentication import AnonymousAuthPlugin
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import Session
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from ..config.settings import AuthSettings, ListenerSettings, MqttSettings, Settings, TlsServer
from ..engine.disconnect import end_session
from ..engine.engine import Engine
from ..engine.offline import add_offline_session
from ..engine.publish import broadcast, retain
from ..engine.subscribe import add_subscription
from ..events import ClientConnected
from ..loop_clock import LoopClock
from ..packets.reasons import ReasonCode
from ..routing.subscription import Subscription
from ..routing.topics import filter_error
from ..transport.listener import Listener, ListenError
from ..transport.websocket import ANY_PATH
from .amqtt_auth import AuthPlugins, PasswordAuthPlugin
from .amqtt_events import PluginEvents
from .amqtt_packets import PacketTap
from .amqtt_settings import ready
from .amqtt_streams import packet, serve
from .amqtt_topics import TopicPlugins
from .amqtt_views import (
    Handler,
    RetainedMessages,
    Sessions,
    SessionView,
    SessionViews,
    make_message,
    subscriptions,
)
from .errors import PluginError

ANONYMOUS = f"{AnonymousAuthPlugin.__module__}.{AnonymousAuthPlugin.__qualname__}"
PASSWORDS = f"{PasswordAuthPlugin.__module__}.{PasswordAuthPlugin.__qualname__}"

KINDS = {(False, False): "tcp", (False, True): "ssl", (True, False): "ws", (True, True): "wss"}
"""Our name of a listener that is (a WebSocket, over TLS)."""
REFUSED = 0x80
"""amqtt's answer for a refused subscription."""
READ_SIZE = 256 * 1024
SHUTDOWN_TIMEOUT = 5.0
"""Seconds the plugins may take for each part of a shutdown."""


def load_plugins(engine: Engine, settings: Settings) -> Broker:
    """Load `auth.password`, `auth.allow_anonymous` and `plugins` of the settings, and let them serve
    ``engine``. Raises PluginError naming the plugin that cannot be used."""
    plugins: dict[str, Any] = {ANONYMOUS: {}, PASSWORDS: {"passwords": dict(settings.auth.passwords)}}
    plugins.update(settings.plugins)
    plugins = {path: ready(path, config) for path, config in plugins.items()}
    config = BrokerConfig(listeners={"default": ListenerConfig(bind=None)}, plugins=plugins)
    try:
        host = Broker(config, engine=engine)
    except (amqtt.errors.PluginError, amqtt.errors.PluginLoadError) as error:
        cause = f": {error.__cause__}" if error.__cause__ else ""
        raise PluginError(f"plugins: {error}{cause}") from error
    host.reload(settings.auth)
    return host


class Broker(amqtt.broker.Broker):
    """Replaces ``amqtt.broker.Broker``; pybroker's engine serves the clients.

    It differs from amqtt's: the plugins are those that the configuration names and no others. If it names
    none, anonymous clients may connect, as with amqtt's default list. The post-start event of the plugins
    ends before the first client is accepted.

    ``engine`` is an engine that has its own listeners; then this object only hosts the plugins.
    """

    def __init__(
        self,
        config: BrokerConfig | dict[str, Any] | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        plugin_namespace: str | None = None,
        *,
        engine: Engine | None = None,
    ) -> None:
        config = _named_plugins(config)
        self._hosted = engine is not None
        self._tasks: set[asyncio.Task[None]] = set()
        self._clock = LoopClock(loop or asyncio.get_running_loop())
        self.engine = engine or Engine(self._clock, self._spawn, _mqtt_settings(config))
        self._views = SessionViews(self.engine)
        self._retained = RetainedMessages(self.engine)
        self._listeners: list[Listener] = []
        self._serving: frozenset[str] = frozenset()
        """The names of the listeners."""
        super().__init__(config, loop, plugin_namespace)
        # BrokerContext.add_subscription writes here.
        self._sessions = Sessions(self.engine, self._views)  # type: ignore[assignment]
        self._attach()

    def _attach(self) -> None:
        """Connect the plugins to the engine: its access control and its events."""
        engine = self.engine
        plugins = self.plugins_manager.plugins
        self._auth = AuthPlugins([p for p in plugins if isinstance(p, BaseAuthPlugin)], self._views)
        self._topics = TopicPlugins([p for p in plugins if isinstance(p, BaseTopicPlugin)], self._views)
        self._events = PluginEvents(plugins, self._views)
        own = {AnonymousAuthPlugin, PasswordAuthPlugin}
        self._views.keep = not self._hosted or any(type(plugin) not in own for plugin in plugins)
        self._events.attach(engine)
        engine.access.authenticators += (self._auth.authenticate,)
        if self._topics.plugins:
            engine.access.authorizers += (self._topics.authorize,)
            engine.router.screen(self._topics.may_receive)
            engine.hooks.observe(ClientConnected, self._ask_again)
        if self._events.wanted(MQTTEvents.PACKET_RECEIVED, MQTTEvents.PACKET_SENT):
            engine.taps += (PacketTap(engine, self._events, self._views),)

    def _ask_again(self, event: ClientConnected) -> None:
        """Make the routes again: the session may belong to another user now, for whom the answers differ."""
        if event.session_present:
            self.engine.router.forget_all_routes()

    # The life of the plugins, for whoever owns the listeners.

    async def before_listening(self) -> None:
        """Tell the plugins that the broker starts and has started. Both happen before the listeners open, so
        that what a plugin restores is there when the first client connects."""
        await self._events.fire_and_wait(BrokerEvents.PRE_START)
        await self._events.fire_and_wait(BrokerEvents.POST_START)
        self.engine.flush()

    async def before_shutdown(self) -> None:
        """Tell the plugins that the broker is about to stop; clients are still connected."""
        self._events.fire(BrokerEvents.PRE_SHUTDOWN)
        await self._events.finish(SHUTDOWN_TIMEOUT)
        self.engine.flush()

    async def after_shutdown(self) -> None:
        """Tell the plugins that the broker has stopped, once all clients are gone, and close them."""
        await self._events.finish(SHUTDOWN_TIMEOUT)
        self._events.fire(BrokerEvents.POST_SHUTDOWN)
        await self._events.finish(SHUTDOWN_TIMEOUT)
        await self._events.close(SHUTDOWN_TIMEOUT)

    @property
    def checks_names(self) -> bool:
        """Whether a plugin other than our own decides who may connect."""
        own = (AnonymousAuthPlugin, PasswordAuthPlugin)
        plugins = self.plugins_manager.plugins
        return any(isinstance(plugin, BaseAuthPlugin) and type(plugin) not in own for plugin in plugins)

    def reload(self, auth: AuthSettings) -> None:
        """Use these settings from now on, and ask the plugins about topics again. Raises PluginError if a
        password cannot be read; then nothing has changed."""
        for plugin in self.plugins_manager.plugins:
            if type(plugin) is PasswordAuthPlugin:
                try:
                    plugin.replace(auth.passwords)
                except ValueError as error:
                    raise PluginError(f"auth.password: {error}") from error
        self._auth.use(
            [
                plugin
                for plugin in self.plugins_manager.plugins
                if isinstance(plugin, BaseAuthPlugin)
                and (auth.allow_anonymous or type(plugin) is not AnonymousAuthPlugin)
            ]
        )
        self._topics.forget()
        self.engine.forget_answers()
        self.engine.router.forget_all_routes()

    # The interface of amqtt's broker, for programs that embed it.

    async def start(self) -> None:
        """Start the plugins, then open the listeners. Raises amqtt's BrokerError."""
        if self._hosted:
            raise BrokerError("this broker hosts plugins only: its listeners belong to the application")
        try:
            self.transitions.start()
        except Exception as error:  # as amqtt's: it depends on the version of transitions
            raise BrokerError(f"Broker instance can't be started: {error}") from error
        try:
            settings = self._listener_settings()
        except BrokerError:
            self.transitions.starting_fail()
            raise
        try:
            self.engine.connection_limits.set(self.engine.limits, settings, self._clock.monotonic())
            self.engine.start()
            await self.before_listening()
            self._listeners = [Listener(self.engine, one) for one in settings]
            for listener in self._listeners:
                await listener.open()
        except ListenError as error:
            await self.before_shutdown()
            self._close()
            await self.after_shutdown()
            self.transitions.starting_fail()
            raise BrokerError(f"Broker instance can't be started: {error}") from error
        self._serving = frozenset(self.listeners_config)
        self.transitions.starting_success()

    async def shutdown(self) -> None:
        """Disconnect all clients, forget all sessions and retained messages, close the plugins."""
        self.transitions.shutdown()
        await self.before_shutdown()
        self._serving = frozenset()
        self._close()
        await self.after_shutdown()
        self.transitions.stopping_success()

    @property
    def addresses(self) -> dict[str, tuple[str, int]]:
        """The host and port of each listener. For a configured port of 0, it is the port that the system
        chose."""
        return {one.settings.name: (one.settings.host, one.port) for one in self._listeners}

    async def stream_connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, listener_name: str
    ) -> None:
        """Serve the client on these streams until its connection ends."""
        read = partial(reader.read, READ_SIZE)
        await self._serve(read, StreamWriterAdapter(writer), listener_name, writer.transport.abort)

    async def ws_connected(self, websocket: ServerConnection, listener_name: str) -> None:
        """Serve the client on this WebSocket until its connection ends."""

        async def read() -> bytes:
            try:
                data = await websocket.recv()
            except ConnectionClosed:
                return b""
            return data.encode() if isinstance(data, str) else data

        abort = websocket.transport.abort
        await self._serve(read, WebSocketsWriter(websocket), listener_name, abort)

    async def external_connected(
        self, reader: ReaderAdapter, writer: WriterAdapter, listener_name: str
    ) -> None:
        """Serve the client behind these adapters until its connection ends."""
        read = partial(packet, reader, self.engine.mqtt.max_packet_size)
        await self._serve(read, writer, listener_name)

    async def _serve(
        self,
        read: Callable[[], Awaitable[bytes]],
        writer: WriterAdapter,
        listener_name: str,
        abort: Callable[[], None] | None = None,
    ) -> None:
        if not self._hosted and listener_name not in self._serving:
            raise BrokerError(f"Invalid listener name '{listener_name}'")
        await serve(self.engine, read, writer, listener_name, abort)

    # What BrokerContext asks for on behalf of plugins.

    @property
    def sessions(self) -> Mapping[str, tuple[Session, Any]]:  # type: ignore[override]
        """The session and handler of each client identifier, as of now."""
        return Sessions(self.engine, self._views)

    @property
    def subscriptions(self) -> dict[str, list[tuple[Session, int]]]:
        """The sessions and their QoS for each topic filter: a copy."""
        return subscriptions(self.engine, self._views)

    @property
    def retained_messages(self) -> RetainedMessages:  # type: ignore[override]
        """The retained message of each topic; a message that is written here is retained."""
        return self._retained

    async def internal_message_broadcast(self, topic: str, data: bytes, qos: int | None = None) -> None:
        """Publish as the broker. Without ``qos`` each receiver gets the message at the QoS of its
        subscription. Raises ValueError for an invalid topic or QoS."""
        message = make_message(topic, data, self.engine.mqtt.max_qos if qos is None else qos)
        broadcast(self.engine, message.topic, message.payload, qos=message.qos)
        self.engine.flush()

    async def retain_message(
        self,
        source_session: Session | None,
        topic_name: str | None,
        data: bytes | bytearray | None,
        qos: int | None = None,
    ) -> None:
        """Retain a message for later subscribers, or clear the topic if ``data`` is empty."""
        if topic_name is None:
            return
        qos = self.engine.mqtt.max_qos if qos is None else qos
        message = make_message(topic_name, data, qos, retain=True)
        message.source = source_session.client if isinstance(source_session, SessionView) else None
        retain(self.engine, message)

    def create_offline_session(self, client_id: str) -> tuple[Handler, Session]:  # type: ignore[override]
        """Make a session that waits for its client, or return the existing one."""
        session = self.engine.sessions.get(client_id) or add_offline_session(self.engine, client_id)
        view = self._views.of(session)
        return Handler(view), view

    async def add_subscription(self, subscription: tuple[str, int], session: Session) -> int:
        """Subscribe for a session. If the client has none, a session is created that waits for it. Returns
        the granted QoS, or 0x80.

        Topic plugins are not asked whether the session may subscribe, because the broker itself calls this.
        They are asked what it may receive.
        """
        topic_filter, qos = subscription
        if not session.client_id or filter_error(topic_filter) or qos not in (0, 1, 2):
            return REFUSED
        own = self.engine.sessions.get(session.client_id) or add_offline_session(
            self.engine, session.client_id
        )
        granted = Subscription(topic_filter, min(qos, self.engine.mqtt.max_qos))
        self._events.subscribing = True
        try:
            add_subscription(self.engine, own, granted)
        finally:
            self._events.subscribing = False
        return granted.qos

    # How it is done.

    def _listener_settings(self) -> list[ListenerSettings]:
        """The listeners to open. Raises BrokerError where one cannot be served."""
        return [
            _listener(name, listener, *self._address(listener))
            for name, listener in self.listeners_config.items()
            if listener.bind is not None and listener.type != ListenerType.EXTERNAL
        ]

    def _address(self, listener: ListenerConfig) -> tuple[str, int]:
        try:
            host, port = self._split_bindaddr_port(str(listener.bind), DEFAULT_PORTS[listener.type])
        except ValueError as error:
            raise BrokerError(f"Invalid port value in bind value: {listener.bind}") from error
        return (host or "").strip("[]"), port

    def _close(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners = []
        for channel in list(self.engine.channels):
            channel.close(ReasonCode.SERVER_SHUTTING_DOWN, "server_shutdown", "the broker is stopping")
        for session in self.engine.sessions:
            end_session(self.engine, session, "disconnected")
        self.engine.retained.clear()
        self.engine.flush()
        for task in self._tasks:
            task.cancel()
        self._clock.stop()

    def _spawn(self, answer: Awaitable[Any], then: Callable[[Any], None]) -> None:
        async def hand_on() -> None:
            then(await answer)

        task = asyncio.ensure_future(hand_on())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _named_plugins(config: BrokerConfig | dict[str, Any] | None) -> BrokerConfig:
    """The configuration with the plugins that it names itself."""
    if not isinstance(config, BrokerConfig):
        config = BrokerConfig.from_dict(copy.copy(config))
    if config.plugins is None:
        raise BrokerError("amqtt's entry points are not read: name each plugin under 'plugins'")
    if config.plugins == default_broker_plugins():
        config = copy.copy(config)
        config.plugins = {ANONYMOUS: {}}
    return config


def _mqtt_settings(config: BrokerConfig) -> MqttSettings:
    expiry = config.session_expiry_interval
    settings = MqttSettings()
    if expiry is None:
        return settings
    return replace(settings, session_expiry=float(expiry), max_session_expiry=float(expiry))


def _listener(name: str, listener: ListenerConfig, host: str, port: int) -> ListenerSettings:
    websocket = listener.type == ListenerType.WS
    return ListenerSettings(
        name,
        type=KINDS[websocket, bool(listener.ssl)],
        host=host,
        port=port,
        path=ANY_PATH if websocket else "",
        tls=_tls(name, listener) if listener.ssl else None,
        max_connections=listener.max_connections if listener.max_connections > 0 else None,
    )


def _tls(name: str, listener: ListenerConfig) -> TlsServer:
    """As in amqtt, a client may present a certificate, which must then be valid."""
    if listener.certfile is None or listener.keyfile is None:
        raise BrokerError(f"listener '{name}': ssl needs certfile and keyfile")
    if listener.capath or listener.cadata:
        raise BrokerError(f"listener '{name}': capath and cadata are not served, put all into cafile")
    authorities = Path(listener.cafile) if listener.cafile else None
    return TlsServer(
        Path(listener.certfile), Path(listener.keyfile), authorities, verify_peer=authorities is not None
    )
