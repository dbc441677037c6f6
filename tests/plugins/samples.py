"""Plugins as somebody writes them for amqtt."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Any, ClassVar

from amqtt.broker import BrokerContext, RetainedApplicationMessage
from amqtt.contexts import Action
from amqtt.plugins.base import BaseAuthPlugin, BasePlugin, BaseTopicPlugin
from amqtt.session import Session


class Mode(Enum):
    FAST = "fast"
    CAREFUL = "with care"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


@dataclass
class Part:
    mode: Mode = Mode.FAST


class Chooser(BasePlugin[BrokerContext]):
    """Has settings that are enums, as many of amqtt's plugins have."""

    @dataclass
    class Config:
        mode: Mode = Mode.FAST
        perhaps: Mode | None = None
        several: list[Mode] = field(default_factory=list)
        level: Level = Level.LOW
        part: Part = field(default_factory=Part)
        either: Mode | str = "neither"
        name: str = ""


class Recorder(BasePlugin[BrokerContext]):
    """Keeps every event of the broker with what came along."""

    def __init__(self, context: BrokerContext) -> None:
        super().__init__(context)
        self.events: list[tuple[str, dict[str, Any]]] = []

    def _note(self, event: str, **facts: Any) -> None:
        self.events.append((event, facts))

    def of(self, event: str) -> list[dict[str, Any]]:
        return [facts for name, facts in self.events if name == event]

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.events]

    async def on_broker_pre_start(self) -> None:
        self._note("pre_start")

    async def on_broker_post_start(self) -> None:
        self._note("post_start")

    async def on_broker_pre_shutdown(self) -> None:
        self._note("pre_shutdown", clients=len(list(self.context.sessions)))

    async def on_broker_post_shutdown(self) -> None:
        self._note("post_shutdown", clients=len(list(self.context.sessions)))

    async def close(self) -> None:
        self._note("close")

    async def on_broker_client_connected(self, client_id: str, client_session: Session) -> None:
        self._note("client_connected", client_id=client_id, session=client_session)

    async def on_broker_client_disconnected(self, client_id: str, client_session: Session) -> None:
        self._note("client_disconnected", client_id=client_id, session=client_session)

    async def on_broker_client_subscribed(self, client_id: str, topic: str, qos: int) -> None:
        self._note("client_subscribed", client_id=client_id, topic=topic, qos=qos)

    async def on_broker_client_unsubscribed(self, client_id: str, topic: str) -> None:
        self._note("client_unsubscribed", client_id=client_id, topic=topic)

    async def on_broker_retained_message(
        self, *, client_id: str | None, retained_message: RetainedApplicationMessage
    ) -> None:
        self._note("retained_message", client_id=client_id, message=retained_message)

    async def on_broker_message_received(self, client_id: str, message: Any) -> None:
        self._note("message_received", client_id=client_id, message=message)

    async def on_broker_message_broadcast(self, client_id: str, message: Any) -> None:
        self._note("message_broadcast", client_id=client_id, message=message)


class PacketRecorder(BasePlugin[BrokerContext]):
    """Keeps every packet."""

    def __init__(self, context: BrokerContext) -> None:
        super().__init__(context)
        self.packets: list[tuple[str, Any, Session | None]] = []

    async def on_mqtt_packet_received(self, *, packet: Any, session: Session | None = None) -> None:
        self.packets.append(("in", packet, session))

    async def on_mqtt_packet_sent(self, *, packet: Any, session: Session | None = None) -> None:
        self.packets.append(("out", packet, session))


class Restorer(BasePlugin[BrokerContext]):
    """Brings back a session with a subscription and a message, and a retained message."""

    async def on_broker_post_start(self) -> None:
        await asyncio.sleep(0)  # a data base would take its time
        await self.context.add_subscription("away", "news/#", 1)
        session = self.context.get_session("away")
        assert session is not None
        session.clean_session = False
        await session.retained_messages.put(RetainedApplicationMessage(None, "news/1", b"while away", 1))
        self.context.retained_messages["state"] = RetainedApplicationMessage(None, "state", b"kept", 1)


class Failing(BasePlugin[BrokerContext]):
    """Raises wherever it is called."""

    async def on_broker_pre_start(self) -> None:
        raise RuntimeError("pre-start is broken")

    async def on_broker_client_connected(self, client_id: str, client_session: Session) -> None:
        raise RuntimeError("connected is broken")

    async def close(self) -> None:
        raise RuntimeError("close is broken")


class Unstartable(BasePlugin[BrokerContext]):
    def __init__(self, context: BrokerContext) -> None:
        raise OSError("the file is gone")


class Answers(BaseAuthPlugin):
    """Says what it is told to, by user name; ``"raise"`` raises, after a while where ``slow``."""

    async def authenticate(self, *, session: Session) -> bool | None:
        if self.config.slow:
            async with asyncio.timeout(10):  # needs a running task, as aiohttp does
                await asyncio.sleep(0)
        answer = self.config.answers.get(session.username or "")
        if answer == "raise":
            raise RuntimeError("authentication is broken")
        session.attributes["samples.role"] = f"role of {session.username}"
        return answer

    @dataclass
    class Config:
        answers: dict[str, Any] = field(default_factory=dict)
        slow: bool = False


class MoreAnswers(Answers):
    """A second one."""


class Topics(BaseTopicPlugin):
    """Says what it is told to, by ``action topic`` or ``client action``; keeps what it was asked."""

    asked: ClassVar[list[tuple[str | None, str | None, str]]] = []

    async def topic_filtering(
        self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None
    ) -> bool | None:
        assert session is not None
        assert action is not None
        self.asked.append((session.client_id, topic, str(action)))
        if self.config.slow:
            async with asyncio.timeout(10):
                await asyncio.sleep(0)
        answers = self.config.answers
        of_client = answers.get(f"{session.client_id} {action}", self.config.otherwise)
        answer = answers.get(f"{action} {topic}", of_client)
        if answer == "raise":
            raise RuntimeError("topic filtering is broken")
        return answer

    @dataclass
    class Config:
        answers: dict[str, Any] = field(default_factory=dict)
        otherwise: bool | None = None
        slow: bool = False


class MoreTopics(Topics):
    """A second one."""


class Role(BaseTopicPlugin):
    """Looks at what another plugin has noted of the session."""

    async def topic_filtering(
        self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None
    ) -> bool | None:
        return session is not None and session.attributes.get("samples.role") == f"role of {topic}"


NOT_A_PLUGIN = "text"


class Endless(BasePlugin[BrokerContext]):
    """Never comes to an end."""

    async def on_broker_pre_shutdown(self) -> None:
        await asyncio.get_running_loop().create_future()


class Certified(BaseAuthPlugin):
    """Lets in who shows a certificate, and keeps it."""

    async def authenticate(self, *, session: Session) -> bool | None:
        if session.ssl_object is None:
            return False
        session.attributes["samples.der"] = session.ssl_object.getpeercert(binary_form=True)
        return bool(session.attributes["samples.der"])
