BEGIN TRANSACTION;
CREATE TABLE accounts (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created INTEGER NOT NULL, unfinished INTEGER NOT NULL DEFAULT 0
);
INSERT INTO "accounts" VALUES('51bd2147-8e0e-44c9-a4a6-143872f608d3','local',1795881875244203,4);
INSERT INTO "accounts" VALUES('de340d07-2430-490b-9401-5913f745a667','another',1795881875244519,1);
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
INSERT INTO "idempotency_keys" VALUES('51bd2147-8e0e-44c9-a4a6-143872f608d3','key-of-job-2','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff','00000000-0000-4000-8000-000000000002',X'7B226964223A2230303030303030302D303030302D343030302D383030302D303030303030303030303032227D',1795881875247471);
CREATE TABLE jobs (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    account TEXT NOT NULL REFERENCES accounts (id),
    name TEXT, target TEXT NOT NULL, language TEXT NOT NULL, shots INTEGER NOT NULL, seed INTEGER NOT NULL,
    status TEXT NOT NULL, created INTEGER NOT NULL, started INTEGER, finished INTEGER,
    meta TEXT NOT NULL DEFAULT '{}', attempt INTEGER NOT NULL DEFAULT 0, change INTEGER NOT NULL, result TEXT,
    lost INTEGER NOT NULL DEFAULT 0, rerun TEXT
);
INSERT INTO "jobs" VALUES(1,'00000000-0000-4000-8000-000000000000','51bd2147-8e0e-44c9-a4a6-143872f608d3','job 0','simulon_gaussian','blackbird:1.0',4,7,'open',1795881875245956,NULL,NULL,'{}',0,1,NULL,0,NULL);
INSERT INTO "jobs" VALUES(2,'00000000-0000-4000-8000-000000000001','51bd2147-8e0e-44c9-a4a6-143872f608d3','job 1','simulon_gaussian','blackbird:1.0',4,8,'queued',1795881875246877,NULL,NULL,'{}',0,9,NULL,0,NULL);
INSERT INTO "jobs" VALUES(3,'00000000-0000-4000-8000-000000000002','51bd2147-8e0e-44c9-a4a6-143872f608d3','job 2','simulon_gaussian','blackbird:1.0',4,9,'queued',1795881875247471,1795881875254902,NULL,'{}',2,24,NULL,1,'its worker was lost');
INSERT INTO "jobs" VALUES(4,'00000000-0000-4000-8000-000000000003','51bd2147-8e0e-44c9-a4a6-143872f608d3','job 3','simulon_gaussian','blackbird:1.0',4,10,'cancel_pending',1795881875248153,1795881875253424,NULL,'{}',1,21,NULL,0,NULL);
INSERT INTO "jobs" VALUES(5,'00000000-0000-4000-8000-000000000004','51bd2147-8e0e-44c9-a4a6-143872f608d3','job 4','simulon_gaussian','blackbird:1.0',4,11,'cancelled',1795881875248683,NULL,1795881875253015,'{}',0,18,NULL,0,NULL);
INSERT INTO "jobs" VALUES(6,'00000000-0000-4000-8000-000000000005','51bd2147-8e0e-44c9-a4a6-143872f608d3','job 5','simulon_gaussian','blackbird:1.0',4,12,'complete',1795881875249119,1795881875251055,1795881875251490,'{"sampler": "gaussian"}',1,15,'{"name": "00000000-0000-4000-8000-000000000005-1.npz", "size": 1005, "digest": "aa", "npy_offset": 60, "npy_size": 144, "npy_digest": "bb"}',0,NULL);
INSERT INTO "jobs" VALUES(7,'00000000-0000-4000-8000-000000000006','51bd2147-8e0e-44c9-a4a6-143872f608d3','job 6','simulon_gaussian','blackbird:1.0',4,13,'failed',1795881875249545,1795881875252087,1795881875252424,'{"error-code": "out-of-memory", "error-detail": "the job needs more memory than it may use"}',1,17,NULL,0,NULL);
INSERT INTO "jobs" VALUES(8,'00000000-0000-4000-8000-000000000007','de340d07-2430-490b-9401-5913f745a667','job 7','simulon_gaussian','blackbird:1.0',4,14,'open',1795881875249948,NULL,NULL,'{}',0,8,NULL,0,NULL);
CREATE TABLE keys (
    id TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, name TEXT NOT NULL, account TEXT NOT NULL REFERENCES accounts (id),
    created INTEGER NOT NULL, used INTEGER, revoked INTEGER
) WITHOUT ROWID;
INSERT INTO "keys" VALUES('8e9992fb661f2767','3333333333333333333333333333333333333333333333333333333333333333','bob','de340d07-2430-490b-9401-5913f745a667',1795881875245576,NULL,NULL);
INSERT INTO "keys" VALUES('977fab6c13e2e1a0','2222222222222222222222222222222222222222222222222222222222222222','local','51bd2147-8e0e-44c9-a4a6-143872f608d3',1795881875245328,NULL,NULL);
INSERT INTO "keys" VALUES('a1c770f850a9375d','1111111111111111111111111111111111111111111111111111111111111111','local','51bd2147-8e0e-44c9-a4a6-143872f608d3',1795881875244769,NULL,1795881875245011);
CREATE TABLE meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
INSERT INTO "meta" VALUES('changes',24);
INSERT INTO "meta" VALUES('schema',2);
INSERT INTO "meta" VALUES('secret:access-tokens','P_UEnvWC99aSj626qKzPSA7EQAwaKBlwQ8zPrkJOXztZYqAmTrRv0CGkDPZ8KbqV');
INSERT INTO "meta" VALUES('secret:change-cursors','VxpJjb8qG_yIrtlItHoPrrfdlo49WrFWpg7fuwbT6E9DX5cBqzv2BxzcNEOWitmb');
CREATE INDEX idempotency_keys_oldest ON idempotency_keys (created);
CREATE UNIQUE INDEX keys_live ON keys (name) WHERE revoked IS NULL;
CREATE UNIQUE INDEX jobs_id ON jobs (id);
CREATE INDEX jobs_newest ON jobs (account, sequence);
CREATE INDEX jobs_of_status ON jobs (account, status, sequence);
CREATE INDEX jobs_changed ON jobs (account, change);
CREATE INDEX jobs_unfinished ON jobs (sequence) WHERE status IN ('open', 'queued', 'cancel_pending');
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('jobs',8);
COMMIT;
