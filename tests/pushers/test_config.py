"""`event_pusher.NAME {}`: what it may say, and what is said where it cannot be."""

from __future__ import annotations

import sys

import pytest

from pybroker.broker.commands.main import main
from pybroker.broker.config import ConfigError, describe, load
from pybroker.webhook import Retry, Sink
from pybroker.webhook.settings import SettingsError

from . import backends
from .support import drained, published, pushers

HERE = "tests.pushers.backends"
EVENTS = "events = [{ event = on_message_publish }]"


def test_a_section_named_after_its_backend_needs_no_other(tmp_path) -> None:
    one, two, three = pushers(
        tmp_path,
        f'nats {{ {EVENTS} }}\n other {{ backend = redis, url = "redis://h/1", {EVENTS} }}\n'
        f'mine {{ backend = "{HERE}:Options", options {{ server = h, count = 3 }}, {EVENTS} }}',
    )
    assert (one.name, one.backend, one.label) == ("nats", "nats", "event_pusher nats")
    assert (two.name, two.backend, two.url, two.options["maxlen"]) == (
        "other",
        "redis",
        "redis://h/1",
        1000000,
    )
    assert three.options["options"] == (("server", "h"), ("count", "3"))


def test_what_a_pusher_has_of_its_own_and_what_is_a_webhooks(tmp_path) -> None:
    (one,) = pushers(
        tmp_path,
        f"""nats {{ order = client, queue.max_events = 5, spool.path = "s", filter = "a:b"
            body.format = cloudevents, retry.first = 2s, {EVENTS} }}""",
    )
    assert (one.order, one.queue_max_events, one.format) == ("client", 5, "cloudevents")
    assert str(one.spool.path) == "s"
    assert one.rules[0].filter == "a:b"
    assert one.retry == Retry(1000, 2.0, 60.0, 86400.0)
    assert (one.batch.size, one.pool_size, one.cancel_timeout) == (100, 4, 10.0)


@pytest.mark.parametrize("text", ["enable = false, nats { }", "nats { enable = false, backend = nonsense }"])
def test_off(tmp_path, text) -> None:
    assert pushers(tmp_path, text) == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("orders { }", "event_pusher.orders.backend: missing: the backend: rabbit, nats"),
        (
            "orders { backend = rabbitmq }",
            'event_pusher.orders.backend: found "rabbitmq"; allowed: rabbit, nats',
        ),
        ("orders = 3", 'event_pusher.orders: found "3"; allowed: a section'),
        ("http { }", "event_pusher.http.url: missing: where the events are posted to"),
        ('http { url = ["http://a/", "http://b/"] }', "event_pusher.http.url: one URL is allowed here"),
        ("nats { url = here }", 'event_pusher.nats.url: found "here"; allowed: a URL'),
        ('nats { url = "user:hidden@h" }', 'nats.url: found "user:***@h"; allowed: a URL'),
        (
            'nats { subject = "a.{name}" }',
            "{name} is not known; there are {topic}, {clientid}",
        ),
        ('nats { subject = "a.{topic" }', "a brace is not closed or not opened"),
        ("nats { events = [{ event = on_fire }] }", 'found "on_fire"'),
        ("nats { spool { max_size = 1GB } }", "event_pusher.nats.spool.path: missing"),
        ("rabbit { exchange.type = x }", "event_pusher.rabbit.exchange.type"),
        ('nats { headers { a = "{nothing}" } }', "{nothing} is not known"),
    ],
)
def test_errors_name_file_line_and_key(tmp_path, text, said) -> None:
    with pytest.raises(ConfigError) as raised:
        pushers(tmp_path, text)
    assert said in str(raised.value)
    assert "pybroker.conf:2" in str(raised.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"nats {{ maxlen = 3, {EVENTS} }}", "event_pusher.nats.maxlen: has no effect with backend = nats"),
        (f"nats {{ options.a = 3, {EVENTS} }}", "event_pusher.nats.options: has no effect"),
        (f"nats {{ sujbect = a, {EVENTS} }}", "did you mean event_pusher.nats.subject?"),
        ("nats { }", "event_pusher.nats.events: there are none"),
        (f'http {{ url = "http://h/", headers.a = "{{topic}}", {EVENTS} }}', "templates are not replaced"),
    ],
)
def test_warnings(tmp_path, text, said) -> None:
    path = tmp_path / "pybroker.conf"
    path.write_text(f"event_pusher {{ {text} }}")
    assert said in "\n".join(map(str, load(path).warnings))


def test_secrets_are_not_described(tmp_path) -> None:
    path = tmp_path / "pybroker.conf"
    path.write_text(f'event_pusher.nats {{ url = "nats://ann:passw0rd@h:1", {EVENTS} }}')
    lines = "\n".join(describe(load(path)))
    assert "event_pusher nats  to nats at nats://h:1; on_message_publish" in lines
    assert "passw0rd" not in lines


def test_a_reload_tells_what_changes_without_secrets(tmp_path) -> None:
    from pybroker.broker.config.changes import compare

    texts = (
        f'event_pusher.nats {{ url = "nats://ann:passw0rd@h:1", subject = a, {EVENTS} }}',
        f'event_pusher.nats {{ url = "nats://ann:other@h:1", subject = b, {EVENTS} }}',
    )
    path = tmp_path / "pybroker.conf"
    old, new = (load(path) for text in texts if path.write_text(text))
    settings, changes = compare(old, new)
    assert [change.key for change in changes] == ["event_pusher.nats.url", "event_pusher.nats.subject"]
    assert all(change.applied for change in changes)
    assert "passw0rd" not in "".join(map(str, changes))
    assert settings.event_pushers == new.event_pushers


def test_http_is_what_webhooks_are(tmp_path) -> None:
    (one,) = pushers(tmp_path, f'http {{ url = "http://h/hook", {EVENTS} }}')
    assert (one.batch.size, one.pool_size, one.cancel_timeout, one.url) == (1, 32, 5.0, "http://h/hook")
    (one,) = pushers(tmp_path, f'http {{ url = "http://h/hook", batch.size = 7, {EVENTS} }}')
    assert one.batch.size == 7


async def test_http_posts(tmp_path, start) -> None:
    from tests.webhook.receiver import Receiver

    receiver = Receiver()
    await receiver.start()
    sink = await start(*pushers(tmp_path, f'http {{ url = "{receiver.url}", {EVENTS} }}'))
    sink.offer(published(1))
    assert (await drained(sink)).succeeded == 1
    assert receiver.requests[0].json["payload"] == "1"
    await receiver.stop()


# ---- somebody's own class


def test_options_are_read_by_their_types(tmp_path) -> None:
    backends.Options.made.clear()
    options = "server = h, linger = 2, count = 3, loud = yes"
    Sink(pushers(tmp_path, f'a {{ backend = "{HERE}:Options", options {{ {options} }}, {EVENTS} }}'))
    assert backends.Options.made == [backends.Options.Options("h", 2.0, 3, True)]


@pytest.mark.parametrize(
    ("cls", "options", "said"),
    [
        ("tests.nowhere:A", "", "cannot import tests.nowhere"),
        (f"{HERE}:Missing", "", f"{HERE} has no Missing"),
        (f"{HERE}:function", "", "is not a class"),
        (f"{HERE}:NoClose", "", 'has no "async def close"'),
        (f"{HERE}:Moody", "a = 1", 'takes none: it has no dataclass "Options"'),
        (f"{HERE}:Options", "", "options.server: missing"),
        (f"{HERE}:Options", "server = h, cuont = 1", "options.cuont: unknown; did you mean count?"),
        (f"{HERE}:Options", "server = h, count = few", 'options.count: found "few"; allowed: a whole number'),
        (f"{HERE}:Options", "server = h, loud = 3", 'options.loud: found "3"; allowed: true or false'),
        (
            f"{HERE}:Options",
            "server = h, count = -1",
            "cannot be made: ValueError: count must not be negative",
        ),
    ],
)
def test_check_says_what_is_wrong_with_a_class(tmp_path, capsys, cls, options, said) -> None:
    path = tmp_path / "pybroker.conf"
    path.write_text(f'event_pusher.a {{ backend = "{cls}", options {{ {options} }}, {EVENTS} }}')
    assert main(["check", "--conf", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("pybroker: event_pusher a: ")
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(("name", "library"), [("rabbit", "aiormq"), ("nats", "nats"), ("redis", "redis")])
def test_a_library_that_is_missing_is_one_sentence(tmp_path, capsys, monkeypatch, name, library) -> None:
    import pybroker.webhook.backends.make as make

    monkeypatch.setattr(make, "find_spec", lambda wanted: None if wanted == library else object())
    path = tmp_path / "pybroker.conf"
    path.write_text(f"event_pusher.{name} {{ {EVENTS} }}")
    assert main(["check", "--conf", str(path)]) == 2
    assert f'needs the package {library}; install it with: pip install "pybroker[{name}]"' in (
        capsys.readouterr().err
    )


def test_two_endpoints_of_one_name(tmp_path, capsys) -> None:
    path = tmp_path / "pybroker.conf"
    path.write_text(f'webhook.nats {{ url = "http://h/", {EVENTS} }}\nevent_pusher.nats {{ {EVENTS} }}')
    assert main(["check", "--conf", str(path)]) == 2
    assert 'there are two endpoints named "nats"' in capsys.readouterr().err


# ---- pybroker events


def test_events_test(tmp_path, capsys) -> None:
    path = tmp_path / "pybroker.conf"
    path.write_text(f'event_pusher.a {{ backend = "{HERE}:Options", options.server = h, {EVENTS} }}')
    assert main(["events", "test", "--conf", str(path)]) == 0
    out = capsys.readouterr().out
    assert out.startswith(
        f"event_pusher a: {HERE}:Options\n  on_message_publish pybroker/test: delivered in "
    )


def test_events_test_of_a_server_that_is_away(tmp_path, capsys) -> None:
    path = tmp_path / "pybroker.conf"
    path.write_text(f'event_pusher.nats {{ url = "nats://127.0.0.1:9", {EVENTS} }}')
    assert main(["events", "test", "--conf", str(path)]) == 1
    assert "cannot connect" in capsys.readouterr().out


def test_webhook_test_leaves_pushers_out(tmp_path, capsys) -> None:
    path = tmp_path / "pybroker.conf"
    path.write_text(f"event_pusher.nats {{ {EVENTS} }}")
    assert main(["webhook", "test", "--conf", str(path)]) == 2
    assert "no webhook is enabled" in capsys.readouterr().err


def test_libraries_are_imported_when_a_backend_opens() -> None:
    import subprocess

    code = (
        "import sys, pybroker.broker.commands.main, pybroker.webhook.backends.rabbit, "
        "pybroker.webhook.backends.nats, pybroker.webhook.backends.redis; "
        "print([m for m in ('aiormq', 'nats', 'redis') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("backend", ["http", "push"])
def test_no_secret_of_a_url_is_quoted(tmp_path, backend) -> None:
    url = "nats://user:hidden@h/hook?token=hidden"
    with pytest.raises(SettingsError) as raised:
        Sink(pushers(tmp_path, f'{backend} {{ url = "{url}", {EVENTS.replace("publish", "queued")} }}'))
    assert "does not begin with http://HOST" in str(raised.value)
    assert "hidden" not in str(raised.value)
