"""Servers that speak what MongoosePush, FCM and APNs document, and refuse what those would."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable
from typing import Any

import h2.config
import h2.connection
import h2.events
import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

Said = tuple[int, dict[str, Any]] | None
"""Status and body of an answer; None: there comes none."""


class Service:
    """``says`` names what a device is answered; without it, it is a success."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        """What was pushed, with ``device``."""
        self.asked: list[str] = []
        """The devices of all requests."""
        self.says: dict[str, list[Said]] = {}
        self.wrong: list[str] = []
        """What broke the protocol."""
        self.most_at_once = self._now = 0
        self.url = ""

    def answer(self, device: str) -> Said:
        self.asked.append(device)
        answers = self.says.get(device)
        return answers.pop(0) if answers else (200, {})

    async def start(self) -> None:
        self._runner = web.ServerRunner(web.Server(self._counted, access_log=None), shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _counted(self, request: web.BaseRequest) -> web.StreamResponse:
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            return await self.handle(request)
        finally:
            self._now -= 1

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        raise NotImplementedError

    async def said(self, device: str, note: dict[str, Any]) -> web.StreamResponse:
        found = self.answer(device)
        if found is None:
            await asyncio.sleep(3600)
        assert found is not None
        status, body = found
        if status == 200:
            self.taken.append({**note, "device": device})
        return web.json_response(body, status=status)

    def refuse(self, why: str, status: int = 400) -> web.StreamResponse:
        self.wrong.append(why)
        return web.json_response({"reason": why}, status=status)


class MongoosePush(Service):
    ALERT = frozenset({"title", "body", "badge", "tag", "click_action", "sound"})
    KEYS = frozenset(
        {"service", "alert", "data", "mode", "priority", "time_to_live", "mutable_content", "topic", "tags"}
    )

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        prefix = "/v3/notification/"
        if request.method != "POST" or not request.path.startswith(prefix):
            return self.refuse(f"{request.method} {request.path}", 404)
        body = await request.json()
        alert = body.get("alert")
        checks = {
            "service": body.get("service") in ("apns", "fcm"),
            "keys": body.keys() <= self.KEYS,
            "alert or data": "alert" in body or "data" in body,
            "alert": alert is None or ({"title", "body"} <= alert.keys() <= self.ALERT),
            "badge": alert is None or isinstance(alert.get("badge", 0), int),
            "mode": body.get("mode", "prod") in ("prod", "dev"),
            "priority": body.get("priority", "high") in ("normal", "high"),
            "time_to_live": isinstance(body.get("time_to_live", 0), int),
            "fcm alone": body["service"] == "fcm" or "time_to_live" not in body,
            "apns alone": body["service"] == "apns" or not body.keys() & {"topic", "mutable_content"},
        }
        if failed := [name for name, ok in checks.items() if not ok]:
            return self.refuse(f"{failed}: {body}", 422)
        return await self.said(request.path.removeprefix(prefix), body)


class Fcm(Service):
    """The token endpoint too."""

    project = "doors-1"

    def __init__(self) -> None:
        super().__init__()
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.tokens: list[str] = []
        self.expires_in = 3600
        self.token_status = 200

    def credentials(self) -> str:
        """The file of the service account."""
        pem = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        return json.dumps(
            {
                "type": "service_account",
                "project_id": self.project,
                "private_key_id": "k1",
                "private_key": pem,
                "client_email": "push@doors-1.iam.gserviceaccount.com",
                "token_uri": f"{self.url}/token",
            }
        )

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/token":
            return await self._token(request)
        if request.path != f"/v1/projects/{self.project}/messages:send":
            return self.refuse(request.path, 404)
        if request.headers.get("authorization") != f"Bearer {self.tokens[-1] if self.tokens else ''}":
            return web.json_response({"error": {"code": 401, "status": "UNAUTHENTICATED"}}, status=401)
        message = (await request.json())["message"]
        if not all(isinstance(value, str) for value in message.get("data", {}).values()):
            return self.refuse("data must be strings")
        known = {"token", "data", "android", "notification"}
        if not message.keys() <= known or not message.get("notification", {}).keys() <= {"title", "body"}:
            return self.refuse(f"unknown fields: {message}")
        return await self.said(message["token"], message)

    async def _token(self, request: web.BaseRequest) -> web.StreamResponse:
        form = await request.post()
        grant = str(form["assertion"])
        claims = jwt.decode(grant, self._key.public_key(), algorithms=["RS256"], audience=f"{self.url}/token")
        ok = (
            form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
            and claims["scope"] == "https://www.googleapis.com/auth/firebase.messaging"
            and claims["exp"] - claims["iat"] <= 3600
            and jwt.get_unverified_header(grant)["kid"] == "k1"
        )
        if not ok:
            return self.refuse(f"grant: {claims}")
        if self.token_status != 200:
            return web.json_response({"error": "invalid_grant"}, status=self.token_status)
        self.tokens.append(f"secret-token-{len(self.tokens)}")
        return web.json_response({"access_token": self.tokens[-1], "expires_in": self.expires_in})

    @staticmethod
    def error(status: int, code: str) -> Said:
        kind = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
        details = [{"@type": kind, "errorCode": code}]
        return status, {"error": {"code": status, "status": "X", "details": details}}


class Apns(Service):
    """HTTP/2 over TLS."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        super().__init__()
        tls.set_alpn_protocols(["h2"])
        self._tls = tls
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.tokens: set[str] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.connections = 0

    def keyfile(self) -> str:
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.url = f"https://localhost:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        self._server.close()
        self.hang_up()

    def hang_up(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        connection = h2.connection.H2Connection(config)
        connection.initiate_connection()
        writer.write(connection.data_to_send())
        heads: dict[int, dict[str, str]] = {}
        bodies: dict[int, bytes] = {}
        try:
            while data := await reader.read(65536):
                for event in connection.receive_data(data):
                    if isinstance(event, h2.events.RequestReceived):
                        heads[event.stream_id] = dict(event.headers)
                        bodies[event.stream_id] = b""
                    elif isinstance(event, h2.events.DataReceived):
                        bodies[event.stream_id] += event.data
                        connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    elif isinstance(event, h2.events.StreamEnded):
                        id = event.stream_id
                        self._respond(connection, id, heads.pop(id), bodies.pop(id))
                writer.write(connection.data_to_send())
        except (ConnectionError, ssl.SSLError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def _respond(self, connection: Any, id: int, head: dict[str, str], body: bytes) -> None:
        found = self._judge(head, body)
        if found is None:
            return
        status, said = found
        content = json.dumps(said).encode() if said else b""
        connection.send_headers(id, [(":status", str(status)), ("apns-id", "x")], end_stream=not content)
        if content:
            connection.send_data(id, content, end_stream=True)

    def _judge(self, head: dict[str, str], body: bytes) -> Said:
        token = head["authorization"].removeprefix("bearer ")
        claims = jwt.decode(token, self._key.public_key(), algorithms=["ES256"])
        note, aps = json.loads(body), json.loads(body)["aps"]
        background = head["apns-push-type"] == "background"
        checks: dict[str, Callable[[], bool]] = {
            "method": lambda: head[":method"] == "POST" and head[":path"].startswith("/3/device/"),
            "token": lambda: claims["iss"] == "TEAM" and jwt.get_unverified_header(token)["kid"] == "KEY",
            "topic": lambda: head["apns-topic"] == "org.example.doors",
            "priority": lambda: head["apns-priority"] in ("5", "10"),
            "background": lambda: not background or (head["apns-priority"] == "5" and "alert" not in aps),
            "alert": lambda: background or aps["alert"].keys() == {"title", "body"},
            "collapse": lambda: len(head.get("apns-collapse-id", "").encode()) <= 64,
            "size": lambda: len(body) <= 4096,
        }
        for name, ok in checks.items():
            if not ok():
                self.wrong.append(f"{name}: {head} {note}")
                return 400, {"reason": "BadPath"}
        self.tokens.add(token)
        device = head[":path"].removeprefix("/3/device/")
        found = self.answer(device)
        if found is not None and found[0] == 200:
            self.taken.append({**note, "device": device, "head": head})
        return found
