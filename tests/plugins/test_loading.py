"""Which plugins are loaded, and what is said where one cannot be."""

from __future__ import annotations

import warnings
from types import MappingProxyType
from typing import Any

import pytest
from amqtt.contexts import BrokerConfig
from amqtt.errors import BrokerError, PluginImportError
from amqtt.plugins.authentication import AnonymousAuthPlugin

from pybroker.broker.plugins.amqtt_auth import PasswordAuthPlugin
from pybroker.broker.plugins.amqtt_host import Broker
from pybroker.broker.plugins.errors import PluginError

from .samples import Answers, Chooser, Level, Mode, Part, Recorder
from .support import SAMPLES, Hosted

LISTENERS = {"default": {"bind": "127.0.0.1:0"}}


def kinds(broker: Broker) -> list[type]:
    return [type(plugin) for plugin in broker.plugins_manager.plugins]


@pytest.mark.parametrize(
    ("path", "config", "message"),
    [
        (
            "no.such.module.Plugin",
            {},
            "plugins: no.such.module.Plugin cannot be imported: No module named 'no'",
        ),
        ("nodots", {}, "plugins: nodots cannot be imported: nodots doesn't look like a module path"),
        (f"{SAMPLES}.NoSuchClass", {}, 'does not define a "NoSuchClass" attribute/class'),
        (f"{SAMPLES}.NOT_A_PLUGIN", {}, "NOT_A_PLUGIN is not a subclass of amqtt.plugins.base.BasePlugin"),
        (f"{SAMPLES}.Answers", {"slaw": True}, f"plugins: {SAMPLES}.Answers: .*slaw"),
        (f"{SAMPLES}.Answers", {"slow": "very"}, f"plugins: {SAMPLES}.Answers: .*slow"),
        (f"{SAMPLES}.Unstartable", {}, "Unstartable.*: the file is gone"),
    ],
)
async def test_a_plugin_that_cannot_be_used_is_named(path: str, config: Any, message: str) -> None:
    with pytest.raises(PluginError, match=message) as error:
        Hosted({path: config})
    assert "\n" not in str(error.value)


async def test_a_module_that_fails_when_imported(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_plugin.py").write_text("raise RuntimeError('half an installation')")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(PluginError, match=r"broken_plugin.Plugin cannot be imported: half an installation"):
        Hosted({"broken_plugin.Plugin": {}})


async def test_the_settings_name_the_plugins() -> None:
    assert kinds(Hosted().host) == [AnonymousAuthPlugin, PasswordAuthPlugin]
    named = Hosted({f"{SAMPLES}.Recorder": {}, f"{SAMPLES}.Answers": {"slow": True}}).host
    assert kinds(named) == [AnonymousAuthPlugin, PasswordAuthPlugin, Recorder, Answers]


async def test_frozen_settings_reach_the_plugin_as_dicts() -> None:
    frozen = MappingProxyType({"answers": MappingProxyType({"ada": ("a", MappingProxyType({}))})})
    broker = Hosted({f"{SAMPLES}.Answers": frozen})

    assert broker.plugin(Answers).config.answers == {"ada": ["a", {}]}


async def test_enums_are_given_as_text() -> None:
    config = {
        "mode": "with care",
        "perhaps": "careful",
        "several": ("FAST", "With Care"),
        "level": "high",
        "part": {"mode": "careful"},
        "either": "fast",
        "name": "fast",
    }
    assert Hosted({f"{SAMPLES}.Chooser": config}).plugin(Chooser).config == Chooser.Config(
        Mode.CAREFUL, Mode.CAREFUL, [Mode.FAST, Mode.CAREFUL], Level.HIGH, Part(Mode.CAREFUL), "fast", "fast"
    )
    given = {"mode": Mode.CAREFUL, "level": 2}
    assert Hosted({f"{SAMPLES}.Chooser": given}).plugin(Chooser).config == Chooser.Config(
        Mode.CAREFUL, level=Level.HIGH
    )


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"mode": "slow"}, 'Chooser: mode: found "slow"; allowed: fast, with care'),
        ({"several": ["fast", "no"]}, 'Chooser: several: found "no"; allowed: fast, with care'),
        ({"part": {"mode": "x"}}, 'Chooser: mode: found "x"; allowed: fast, with care'),
        ({"level": "3"}, 'Chooser: level: found "3"; allowed: 1, 2'),
    ],
)
async def test_text_that_is_no_member_is_named(config: Any, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        Hosted({f"{SAMPLES}.Chooser": config})


async def test_a_plugin_of_amqtts_as_a_file_configures_it() -> None:
    pytest.importorskip("amqtt.contrib.http", reason="amqtt's contrib plugins need sqlalchemy")
    path = "amqtt.contrib.http.UserAuthHttpPlugin"
    options = {"host": "127.0.0.1", "port": 9, "request_method": "POST", "response_mode": "status"}
    broker = Hosted({path: options})
    [plugin] = [p for p in broker.host.plugins_manager.plugins if type(p).__name__ == "UserAuthHttpPlugin"]
    assert (plugin.config.request_method.value, plugin.config.response_mode.value) == ("post", "status")
    await plugin.on_broker_pre_shutdown()


async def test_amqtts_default_plugins_are_not_taken() -> None:
    for config in (None, {"listeners": LISTENERS}, BrokerConfig()):
        assert kinds(Broker(config)) == [AnonymousAuthPlugin]
    assert kinds(Broker({"listeners": LISTENERS, "plugins": {}})) == []
    assert kinds(Broker({"listeners": LISTENERS, "plugins": [f"{SAMPLES}.Recorder"]})) == [Recorder]


async def test_amqtts_entry_points_are_not_taken() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with pytest.raises(BrokerError, match="name each plugin under 'plugins'"):
            Broker({"listeners": LISTENERS, "auth": {"allow-anonymous": True}})


async def test_who_embeds_the_broker_gets_amqtts_own_errors() -> None:
    with pytest.raises(PluginImportError, match=r"no\.such\.Plugin"):
        Broker({"listeners": LISTENERS, "plugins": {"no.such.Plugin": {}}})


async def test_the_configuration_that_was_handed_in_stays_as_it_was() -> None:
    config = BrokerConfig()
    default = dict(config.plugins)  # type: ignore[arg-type]
    given = {"listeners": LISTENERS}

    Broker(config)
    Broker(given)

    assert config.plugins == default
    assert given == {"listeners": LISTENERS}
