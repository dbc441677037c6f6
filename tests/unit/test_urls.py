"""URLs as people may see them."""

from __future__ import annotations

import pytest

from pybroker.broker.outgoing.urls import shown_url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://h/hook", "http://h/hook"),
        ("https://user:secret@h:8443/hook?token=secret&x", "https://h:8443/hook?token=***&***"),
        ("https://chat/services/T0secretsecretsecret1/x", "https://chat/services/***/x"),
        ("amqp://u:secret@a/v amqps://u:secret@b/v", "amqp://a/v, amqps://b/v"),
        ("user:secret@h/hook", "user:***@h/hook"),
        ("http//user:secret@h/hook", "***@h/hook"),
        ("http://[secret", "http://***"),
        ("http://h/#secret", "http://h/"),
        ("", ""),
    ],
)
def test_no_secret_is_shown(url: str, shown: str) -> None:
    assert shown_url(url) == shown
    assert "secret" not in shown_url(url)
