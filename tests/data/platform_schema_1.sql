BEGIN TRANSACTION;
CREATE TABLE accounts (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created INTEGER NOT NULL);
INSERT INTO "accounts" VALUES('99dc03b5-b9c5-4c86-bca8-0877470f212a','local',1795881875007204);
INSERT INTO "accounts" VALUES('6ab13383-9a8b-493b-b35f-427b8826aaa6','another',1795881875007796);
CREATE TABLE api_keys (
    hash TEXT PRIMARY KEY, account TEXT NOT NULL REFERENCES accounts (id), created INTEGER NOT NULL
);
INSERT INTO "api_keys" VALUES('1111111111111111111111111111111111111111111111111111111111111111','99dc03b5-b9c5-4c86-bca8-0877470f212a',1795881875008071);
INSERT INTO "api_keys" VALUES('2222222222222222222222222222222222222222222222222222222222222222','99dc03b5-b9c5-4c86-bca8-0877470f212a',1795881875008344);
INSERT INTO "api_keys" VALUES('3333333333333333333333333333333333333333333333333333333333333333','6ab13383-9a8b-493b-b35f-427b8826aaa6',1795881875008623);
CREATE TABLE circuits (job TEXT PRIMARY KEY REFERENCES jobs (id), circuit TEXT NOT NULL);
INSERT INTO "circuits" VALUES('00000000-0000-4000-8000-000000000000','name demo
version 1.0
target simulon_gaussian (shots=4)

Sgate(0.5) | 0
MeasureFock() | [0, 1]
');
INSERT INTO "circuits" VALUES('00000000-0000-4000-8000-000000000001','name demo
version 1.0
target simulon_gaussian (shots=4)

Sgate(0.5) | 0
MeasureFock() | [0, 1]
');
INSERT INTO "circuits" VALUES('00000000-0000-4000-8000-000000000002','name demo
version 1.0
target simulon_gaussian (shots=4)

Sgate(0.5) | 0
MeasureFock() | [0, 1]
');
INSERT INTO "circuits" VALUES('00000000-0000-4000-8000-000000000003','name demo
version 1.0
target simulon_gaussian (shots=4)

Sgate(0.5) | 0
MeasureFock() | [0, 1]
');
INSERT INTO "circuits" VALUES('00000000-0000-4000-8000-000000000004','name demo
version 1.0
target simulon_gaussian (shots=4)

Sgate(0.5) | 0
MeasureFock() | [0, 1]
');
INSERT INTO "circuits" VALUES('00000000-0000-4000-8000-000000000005','name demo
version 1.0
target simulon_gaussian (shots=4)

Sgate(0.5) | 0
MeasureFock() | [0, 1]
');
INSERT INTO "circuits" VALUES('00000000-0000-4000-8000-000000000006','name demo
version 1.0
target simulon_gaussian (shots=4)

Sgate(0.5) | 0
MeasureFock() | [0, 1]
');
INSERT INTO "circuits" VALUES('00000000-0000-4000-8000-000000000007','name demo
version 1.0
target simulon_gaussian (shots=4)

Sgate(0.5) | 0
MeasureFock() | [0, 1]
');
CREATE TABLE idempotency_keys (
    account TEXT NOT NULL REFERENCES accounts (id), key TEXT NOT NULL, fingerprint TEXT NOT NULL,
    job TEXT NOT NULL, answer BLOB NOT NULL, created INTEGER NOT NULL, PRIMARY KEY (account, key)
) WITHOUT ROWID;
INSERT INTO "idempotency_keys" VALUES('99dc03b5-b9c5-4c86-bca8-0877470f212a','key-of-job-2','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff','00000000-0000-4000-8000-000000000002',X'7B226964223A2230303030303030302D303030302D343030302D383030302D303030303030303030303032227D',1795881875010684);
CREATE TABLE jobs (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    account TEXT NOT NULL REFERENCES accounts (id),
    name TEXT, target TEXT NOT NULL, language TEXT NOT NULL, shots INTEGER NOT NULL, seed INTEGER NOT NULL,
    status TEXT NOT NULL, created INTEGER NOT NULL, started INTEGER, finished INTEGER,
    meta TEXT NOT NULL DEFAULT '{}', attempt INTEGER NOT NULL DEFAULT 0, change INTEGER NOT NULL, result TEXT
);
INSERT INTO "jobs" VALUES(1,'00000000-0000-4000-8000-000000000000','99dc03b5-b9c5-4c86-bca8-0877470f212a','job 0','simulon_gaussian','blackbird:1.0',4,7,'open',1795881875009028,NULL,NULL,'{}',0,1,NULL);
INSERT INTO "jobs" VALUES(2,'00000000-0000-4000-8000-000000000001','99dc03b5-b9c5-4c86-bca8-0877470f212a','job 1','simulon_gaussian','blackbird:1.0',4,8,'queued',1795881875010059,NULL,NULL,'{}',0,9,NULL);
INSERT INTO "jobs" VALUES(3,'00000000-0000-4000-8000-000000000002','99dc03b5-b9c5-4c86-bca8-0877470f212a','job 2','simulon_gaussian','blackbird:1.0',4,9,'queued',1795881875010684,1795881875018759,NULL,'{}',1,22,NULL);
INSERT INTO "jobs" VALUES(4,'00000000-0000-4000-8000-000000000003','99dc03b5-b9c5-4c86-bca8-0877470f212a','job 3','simulon_gaussian','blackbird:1.0',4,10,'cancel_pending',1795881875011514,1795881875017807,NULL,'{}',1,21,NULL);
INSERT INTO "jobs" VALUES(5,'00000000-0000-4000-8000-000000000004','99dc03b5-b9c5-4c86-bca8-0877470f212a','job 4','simulon_gaussian','blackbird:1.0',4,11,'cancelled',1795881875012130,NULL,1795881875017250,'{}',0,18,NULL);
INSERT INTO "jobs" VALUES(6,'00000000-0000-4000-8000-000000000005','99dc03b5-b9c5-4c86-bca8-0877470f212a','job 5','simulon_gaussian','blackbird:1.0',4,12,'complete',1795881875012689,1795881875014978,1795881875015514,'{"sampler": "gaussian"}',1,15,'{"name": "00000000-0000-4000-8000-000000000005-1.npz", "size": 1005, "digest": "aa", "npy_offset": 60, "npy_size": 144, "npy_digest": "bb"}');
INSERT INTO "jobs" VALUES(7,'00000000-0000-4000-8000-000000000006','99dc03b5-b9c5-4c86-bca8-0877470f212a','job 6','simulon_gaussian','blackbird:1.0',4,13,'failed',1795881875013177,1795881875016131,1795881875016522,'{"error-code": "out-of-memory", "error-detail": "the job needs more memory than it may use"}',1,17,NULL);
INSERT INTO "jobs" VALUES(8,'00000000-0000-4000-8000-000000000007','6ab13383-9a8b-493b-b35f-427b8826aaa6','job 7','simulon_gaussian','blackbird:1.0',4,14,'open',1795881875013680,NULL,NULL,'{}',0,8,NULL);
CREATE TABLE meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
INSERT INTO "meta" VALUES('changes',22);
INSERT INTO "meta" VALUES('schema',1);
INSERT INTO "meta" VALUES('secret:access-tokens','tBfWOJSMRT4N8gizFY8PESsx0OM0EUBngh7OFNx0a2vDZFW3WnTcBYyBB7tiWn8G');
INSERT INTO "meta" VALUES('secret:change-cursors','7zuWAhqnM6_W3-JBttaxYHI1NUY44HqPun8aj0qZe4zdB_IbwUXjJ1kFwaQhhZuF');
CREATE UNIQUE INDEX jobs_id ON jobs (id);
CREATE INDEX jobs_newest ON jobs (account, sequence);
CREATE INDEX jobs_of_status ON jobs (account, status, sequence);
CREATE INDEX jobs_changed ON jobs (account, change);
CREATE INDEX jobs_unfinished ON jobs (sequence) WHERE status IN ('open', 'queued', 'cancel_pending');
CREATE INDEX idempotency_keys_oldest ON idempotency_keys (created);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('jobs',8);
COMMIT;
