BEGIN TRANSACTION;
CREATE TABLE accounts (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created INTEGER NOT NULL);
INSERT INTO "accounts" VALUES('b0ac2b40-58e4-48a1-9b16-bde118f2aead','local',1795881874849024);
INSERT INTO "accounts" VALUES('d07f4af2-f9d8-4a49-88f9-3084656d257f','another',1795881874849316);
CREATE TABLE api_keys (
    hash TEXT PRIMARY KEY, account TEXT NOT NULL REFERENCES accounts (id), created INTEGER NOT NULL
);
INSERT INTO "api_keys" VALUES('1111111111111111111111111111111111111111111111111111111111111111','b0ac2b40-58e4-48a1-9b16-bde118f2aead',1795881874849563);
INSERT INTO "api_keys" VALUES('2222222222222222222222222222222222222222222222222222222222222222','b0ac2b40-58e4-48a1-9b16-bde118f2aead',1795881874849776);
INSERT INTO "api_keys" VALUES('3333333333333333333333333333333333333333333333333333333333333333','d07f4af2-f9d8-4a49-88f9-3084656d257f',1795881874849968);
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
CREATE TABLE jobs (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    account TEXT NOT NULL REFERENCES accounts (id),
    name TEXT, target TEXT NOT NULL, language TEXT NOT NULL, shots INTEGER NOT NULL, seed INTEGER NOT NULL,
    status TEXT NOT NULL, created INTEGER NOT NULL, started INTEGER, finished INTEGER,
    meta TEXT NOT NULL DEFAULT '{}', attempt INTEGER NOT NULL DEFAULT 0, change INTEGER NOT NULL, result TEXT
);
INSERT INTO "jobs" VALUES(1,'00000000-0000-4000-8000-000000000000','b0ac2b40-58e4-48a1-9b16-bde118f2aead','job 0','simulon_gaussian','blackbird:1.0',4,7,'open',1795881874850234,NULL,NULL,'{}',0,1,NULL);
INSERT INTO "jobs" VALUES(2,'00000000-0000-4000-8000-000000000001','b0ac2b40-58e4-48a1-9b16-bde118f2aead','job 1','simulon_gaussian','blackbird:1.0',4,8,'queued',1795881874851077,NULL,NULL,'{}',0,9,NULL);
INSERT INTO "jobs" VALUES(3,'00000000-0000-4000-8000-000000000002','b0ac2b40-58e4-48a1-9b16-bde118f2aead','job 2','simulon_gaussian','blackbird:1.0',4,9,'queued',1795881874851519,1795881874858154,NULL,'{}',1,22,NULL);
INSERT INTO "jobs" VALUES(4,'00000000-0000-4000-8000-000000000003','b0ac2b40-58e4-48a1-9b16-bde118f2aead','job 3','simulon_gaussian','blackbird:1.0',4,10,'cancel_pending',1795881874852050,1795881874857316,NULL,'{}',1,21,NULL);
INSERT INTO "jobs" VALUES(5,'00000000-0000-4000-8000-000000000004','b0ac2b40-58e4-48a1-9b16-bde118f2aead','job 4','simulon_gaussian','blackbird:1.0',4,11,'cancelled',1795881874852460,NULL,1795881874856824,'{}',0,18,NULL);
INSERT INTO "jobs" VALUES(6,'00000000-0000-4000-8000-000000000005','b0ac2b40-58e4-48a1-9b16-bde118f2aead','job 5','simulon_gaussian','blackbird:1.0',4,12,'complete',1795881874852851,1795881874854790,1795881874855234,'{"sampler": "gaussian"}',1,15,'{"name": "00000000-0000-4000-8000-000000000005-1.npz", "size": 1005, "digest": "aa", "npy_offset": 60, "npy_size": 144, "npy_digest": "bb"}');
INSERT INTO "jobs" VALUES(7,'00000000-0000-4000-8000-000000000006','b0ac2b40-58e4-48a1-9b16-bde118f2aead','job 6','simulon_gaussian','blackbird:1.0',4,13,'failed',1795881874853225,1795881874855813,1795881874856150,'{"error-code": "out-of-memory", "error-detail": "the job needs more memory than it may use"}',1,17,NULL);
INSERT INTO "jobs" VALUES(8,'00000000-0000-4000-8000-000000000007','d07f4af2-f9d8-4a49-88f9-3084656d257f','job 7','simulon_gaussian','blackbird:1.0',4,14,'open',1795881874853632,NULL,NULL,'{}',0,8,NULL);
CREATE TABLE meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
INSERT INTO "meta" VALUES('changes',22);
INSERT INTO "meta" VALUES('schema',1);
INSERT INTO "meta" VALUES('secret:access-tokens','rxJaUDZEINE3ZKI0PPVgX2z4bx3RDyJfi3NlXyrCLabsNaopujEusTe-BjU3cWsW');
INSERT INTO "meta" VALUES('secret:change-cursors','hSsoXggCSnkmdd4nhBwobfSu0ByXES11LkrznVTJk_zNLtkQsRgGA5vdYFIk6f1U');
CREATE INDEX jobs_newest ON jobs (account, sequence);
CREATE INDEX jobs_of_status ON jobs (account, status, sequence);
CREATE INDEX jobs_changed ON jobs (account, change);
CREATE INDEX jobs_unfinished ON jobs (sequence) WHERE status IN ('open', 'queued', 'cancel_pending');
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('jobs',8);
COMMIT;
