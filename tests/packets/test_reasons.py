from __future__ import annotations

import pytest

from pybroker.broker.packets.errors import MalformedPacket, ProtocolError
from pybroker.broker.packets.reasons import ReasonCode, connack_reason, connack_return_code, reason_name


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (0x00, "success"),
        (0x04, "disconnect_with_will_message"),
        (0x10, "no_matching_subscribers"),
        (0x81, "malformed_packet"),
        (0x86, "bad_username_or_password"),
        (0x87, "not_authorized"),
        (0x8B, "server_shutting_down"),
        (0x8D, "keepalive_timeout"),
        (0x8E, "takenover"),
        (0x9B, "qos_not_supported"),
        (0xFF, "reason_0xff"),
    ],
)
def test_names(code: int, name: str) -> None:
    assert reason_name(code) == name


def test_every_name_is_lower_snake_and_unique() -> None:
    names = [reason_name(code) for code in ReasonCode]
    assert len(set(names)) == len(names)
    assert all(name.replace("_", "").isalnum() and name == name.lower() for name in names)


def test_return_codes_of_old_versions() -> None:
    for return_code in range(6):
        reason = connack_reason(return_code)
        assert reason is not None
        assert connack_return_code(reason) == return_code
    assert connack_reason(6) is None


@pytest.mark.parametrize("code", ReasonCode)
def test_every_refusal_has_a_return_code_that_refuses(code: ReasonCode) -> None:
    assert (connack_return_code(code) == 0) == (code == ReasonCode.SUCCESS)
    assert 0 <= connack_return_code(code) <= 5


def test_errors_carry_their_reason() -> None:
    assert ProtocolError("x").reason is ReasonCode.PROTOCOL_ERROR
    assert MalformedPacket("x").reason is ReasonCode.MALFORMED_PACKET
    assert isinstance(MalformedPacket("x"), ProtocolError)
    assert str(ProtocolError("in words", ReasonCode.QUOTA_EXCEEDED)) == "in words"
    assert len(str(ProtocolError("long " * 100))) == 200
