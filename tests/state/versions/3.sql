BEGIN TRANSACTION;
CREATE TABLE entry (
        number INTEGER PRIMARY KEY, session INTEGER NOT NULL, message INTEGER NOT NULL,
        flags INTEGER NOT NULL, packet_id INTEGER NOT NULL, state INTEGER NOT NULL,
        identifiers TEXT NOT NULL, share TEXT NOT NULL);
INSERT INTO "entry" VALUES(1,1,1,1,0,0,'','');
CREATE TABLE message (
        number INTEGER PRIMARY KEY, topic TEXT NOT NULL, flags INTEGER NOT NULL, payload_at INTEGER NOT NULL,
        expires_at REAL NOT NULL, client TEXT, username TEXT, wire BLOB NOT NULL);
INSERT INTO "message" VALUES(1,'a/b',37,9,-1.0,NULL,NULL,X'33080003612F620000FF');
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO "meta" VALUES('alive',1795795508);
INSERT INTO "meta" VALUES('generation',1);
CREATE TABLE packet (
        session INTEGER NOT NULL, packet_id INTEGER NOT NULL, PRIMARY KEY (session, packet_id)) WITHOUT ROWID;
CREATE TABLE retained (
        topic TEXT PRIMARY KEY, flags INTEGER NOT NULL, payload_at INTEGER NOT NULL,
        expires_at REAL NOT NULL, client TEXT, username TEXT, wire BLOB NOT NULL);
INSERT INTO "retained" VALUES('a/b',37,9,-1.0,NULL,NULL,X'33080003612F620000FF');
CREATE TABLE session (number INTEGER PRIMARY KEY, facts TEXT NOT NULL, will BLOB NOT NULL);
INSERT INTO "session" VALUES(1,'{"client_id": "reader", "username": null, "version": 4, "keepalive": 60, "clean_start": false, "peer": "127.0.0.1:44733", "listener": "tcp", "expiry": -1.0, "superuser": false, "connected": false, "ends_at": -1.0, "will_at": -1.0}',X'');
CREATE TABLE subscription (
        session INTEGER NOT NULL, topic_filter TEXT NOT NULL, options INTEGER NOT NULL,
        identifier INTEGER NOT NULL, PRIMARY KEY (session, topic_filter)) WITHOUT ROWID;
INSERT INTO "subscription" VALUES(1,'a/#',1,0);
CREATE TABLE stretch (
        number INTEGER PRIMARY KEY, session INTEGER NOT NULL, length INTEGER NOT NULL,
        packet_id INTEGER NOT NULL, flags INTEGER NOT NULL, payload_at INTEGER NOT NULL,
        topic TEXT NOT NULL, client TEXT, username TEXT,
        ends BLOB NOT NULL, wire BLOB NOT NULL);
INSERT INTO "stretch" VALUES(2,1,2,0,33,9,'a/c','writer',NULL,X'0C0000001A000000',X'320A0003612F63000074776F320C0003612F6300007468726565');
CREATE TABLE flight (number INTEGER PRIMARY KEY, packet_id INTEGER NOT NULL, state INTEGER NOT NULL);
INSERT INTO "flight" VALUES(2,7,1);
CREATE TABLE ban (kind TEXT NOT NULL, who TEXT NOT NULL, facts TEXT NOT NULL, PRIMARY KEY (kind, who));
INSERT INTO "ban" VALUES('clientid','c','{"reason": "", "by": "", "at": 1.0, "until": -1.0}');
CREATE INDEX stretch_session ON stretch (session);
CREATE INDEX entry_session ON entry (session);
CREATE INDEX entry_message ON entry (message);
COMMIT;
