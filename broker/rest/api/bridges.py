"""`/bridges` and `/rules`: paths of NanoMQ for features that this broker does not have, so that scripts get
answers."""

from __future__ import annotations

from aiohttp import web

from ..answers import Code, Refused, as_json, data
from ..calls import Call, Route


async def bridges(call: Call) -> web.Response:
    """None; as with NanoMQ an unknown name is no error."""
    return data({"bridge": {"nodes": []}})


async def change(call: Call) -> web.Response:
    await call.object()
    raise Refused(404, Code.NO_SUCH_BRIDGE, f'there is no bridge "{call.arguments[0]}"')


async def switch(call: Call) -> web.Response:
    await call.object()
    raise Refused(404, Code.BAD_REQUEST, f'there is no bridge "{call.arguments[0]}"')


async def rules(call: Call) -> web.Response:
    """The answer of a NanoMQ that was built without its rule engine."""
    return as_json({"code": Code.NO_SUCH_PLUGIN})


ROUTES = (
    Route("GET", "/bridges", bridges, "list_mqtt_bridges", "Bridges: none are served"),
    Route("GET", "/bridges/:bridge_name", bridges, "get_mqtt_bridges", "One bridge, in a list"),
    Route("PUT", "/bridges/:bridge_name", change, "put_mqtt_bridge", "Refused: there is none", True),
    Route("POST", "/bridges/switch/:bridge_name", switch, "put_mqtt_bridge_switch", "Refused", True),
    Route("POST", "/bridges/sub/:bridge_name", switch, "post_mqtt_bridge_sub", "Refused", True),
    Route("POST", "/bridges/unsub/:bridge_name", switch, "post_mqtt_bridge_unsub", "Refused", True),
    Route("GET", "/rules", rules, "list_rules", "There is no rule engine"),
    Route("GET", "/rules/:ruleid", rules, "get_rule_details", "There is no rule engine"),
    Route("POST", "/rules", rules, "create_rule", "There is no rule engine", True),
    Route("PUT", "/rules/:ruleid", rules, "update_rule", "There is no rule engine", True),
    Route("DELETE", "/rules/:ruleid", rules, "delete_rule", "There is no rule engine", True),
)
