"""A file as a NanoMQ user may have it, with a little of everything, and the files it includes."""

FULL = """\
# NanoMQ Configuration
system {
    num_taskq_thread = 0
    max_taskq_thread = 0
    parallel = 0
    daemon = false
}

mqtt {
    property_size = 32
    max_packet_size = 256MB
    max_mqueue_len = 2048
    max_topic_alias = 64
    retry_interval = 20s
    keepalive_multiplier = 1.25

    # Three of below, unsupported now
    max_inflight_window = 512
    max_awaiting_rel = 10s
    await_rel_timeout = 10s
}

listeners.tcp { bind = "0.0.0.0:1883" }
listeners.tcp.inner { bind = "127.0.0.1:1884" }
listeners.ssl {
    bind = "[::1]:8883"
    keyfile = "certs/key.pem"
    certfile = "certs/cert.pem"
    cacertfile = "certs/ca.pem"
    key_password = "of the key"
    verify_peer = true
    fail_if_no_peer_cert = true
}
listeners.ws { bind = "127.0.0.1:8083/mqtt" }
listeners.wss { bind = "127.0.0.1:8086/mqtt" }

http_server {
    port = 8082
    limit_conn = 2
    username = admin
    password = public
    auth_type = basic
    jwt { public.keyfile = "/etc/certs/jwt/jwtRS256.key.pub" }
}

log {
    to = [file, console]
    level = warn
    dir = "/var/log"
    file = "nanomq.log"
    rotation { size = 20MB, count = 3 }
}

webhook {
    url = "http://127.0.0.1:80/hook"
    headers.content-type = "application/json"
    headers.x-extra = hello
    body.encoding = base62
    pool_size = 8
    cancel_timeout = 2500
    ssl { cacertfile = "certs/ca.pem" }
    events = [
        { event = "on_message_publish", topic = "a/b/c" }
        { event = "on_client_connack" }
    ]
}

auth {
    allow_anonymous = false
    no_match = deny
    deny_action = disconnect
    cache { max_size = 32, ttl = 1m }
    password = {include "nanomq_pwd.conf"}
    acl = {include "nanomq_acl.conf"}
    http_auth = {
        auth_req {
            url = "http://127.0.0.1:80/mqtt/auth"
            method = post
            headers.content-type = "application/x-www-form-urlencoded"
            params = {clientid = "%c", username = "%u", password = "%P"}
        }
        acl_req {
            url = "http://127.0.0.1:8991/mqtt/acl"
            method = get
            params = {access = "%A", topic = "%t"}
        }
        timeout = 3s
        connect_timeout = 500ms
        pool_size = 16
        cache_ttl = 30s
    }
}

preset.session.1 {
    clientid = "example"
    topic = [
        { qos = 2, remote_topic = "msg1/#", retain_as_published = 1 }
        { qos = 1, remote_topic = "msg2/#", retain_handling = 2, retain = 0 }
    ]
}

sqlite { disk_cache_size = 102400 }
bridges.mqtt.emqx1 {
    server = "mqtt-tcp://127.0.0.1:1883"
    keepalive = 60s
    subscription = [ { remote_topic = "cmd/#", local_topic = "#" } ]
}
rules.sqlite { path = "/tmp/rules.db" }
plugin { libs = [{ path = "/path/to/plugin.so" }] }
"""

PASSWORDS = """\
# "username": "password"
"admin": "public"
"ann@example.org": "p#1"
"a.b c" : 12345
"""

ACL = """\
rules = [
    {"permit": "allow", "username": "dashboard", "action": "subscribe", "topics": ["$SYS/#"]}
    {"permit": "allow", "topics": ["t/${clientid}/#", "@literal/+"]}
    {"permit": "deny", "ipaddr": "10.0.0.1", "ipaddrs": ["192.168.0.0/16"]}
    {"permit": "allow", "and": [{"username": "u"}, {"or": [{"clientid": "c1"}, {"clientid": "c2"}]}]}
    {"permit": "deny", "username": "#", "clientid": "#"}
]
"""
