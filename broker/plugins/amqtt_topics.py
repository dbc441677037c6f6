"""Adapts amqtt's topic plugins to access control."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Coroutine, Sequence
from typing import Any, TypeVar

import amqtt.contexts
from amqtt.plugins.base import BaseTopicPlugin

from ..engine.access import Action
from ..events import Client
from ..session.session import Session
from .amqtt_views import SessionView, SessionViews
from .step import step

AT_ONCE = frozenset({"amqtt.plugins.topic_checking"})
"""Modules whose plugins answer at once."""
MAX_ANSWERS = 4096
"""The number of answers kept for a session."""

T = TypeVar("T")

log = logging.getLogger("pybroker.plugins")


class TopicPlugins:
    """The topic plugins. The first refusal decides, else one permission is enough. None is no opinion."""

    def __init__(self, plugins: Sequence[BaseTopicPlugin], views: SessionViews) -> None:
        self.plugins = tuple(plugins)
        self._views = views
        self._at_once = all(type(plugin).__module__ in AT_ONCE for plugin in plugins)

    def authorize(self, client: Client, topic: str, action: Action) -> bool | Awaitable[bool | None] | None:
        """An authorizer for the engine's access control, which remembers the answers for publishing."""
        return self._run(self._ask(self._views.of_client(client), topic, action))

    def may_receive(self, session: Session, topic: str) -> bool | Awaitable[bool]:
        """Whether the session may receive messages of the topic: asked once, then remembered."""
        if session.superuser:
            return True
        answers = self._views.of(session).may_receive
        answer = answers.get(topic)
        if answer is None:
            if len(answers) >= MAX_ANSWERS:
                answers.clear()
            asked = self._run(self._ask_receive(session, topic))
            answer = answers[topic] = asked if isinstance(asked, bool) else asyncio.ensure_future(asked)
        if isinstance(answer, bool):
            return answer
        if answer.done() and not answer.cancelled():
            answers[topic] = answer.result()
            return answer.result()
        return answer

    def forget(self) -> None:
        """Ask again from now on."""
        for view in self._views:
            view.may_receive.clear()

    def _run(self, answer: Coroutine[Any, Any, T]) -> T | Coroutine[Any, Any, T]:
        return step(answer) if self._at_once else answer

    async def _ask_receive(self, session: Session, topic: str) -> bool:
        """A client that was allowed to subscribe may receive, unless a plugin refuses."""
        return await self._ask(self._views.of(session), topic, Action.RECEIVE) is not False

    async def _ask(self, session: SessionView, topic: str, action: Action) -> bool | None:
        consent = None
        for plugin in self.plugins:
            try:
                answer = await plugin.topic_filtering(
                    session=session, topic=topic, action=amqtt.contexts.Action(action.value)
                )
            except Exception:
                log.exception(
                    "plugin %s failed on topic %s, which client %s is denied to %s",
                    type(plugin).__qualname__,
                    topic,
                    session.client_id,
                    action,
                )
                answer = False
            if answer:
                consent = True
            elif answer is not None:
                return False
        return consent
