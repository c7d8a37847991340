-- Rows of every table at revision 0029, written by the models of that time.
INSERT INTO "audit" ("id", "at", "actor", "address", "action", "subject", "detail") VALUES
(1, '2026-11-24 09:33:00.000000', '(operator)', NULL, 'token.created', 'alice', '{"token": "notebook"}'),
(2, '2026-11-24 10:17:00.000000', 'bob', '192.0.2.7', 'submission.withdrawn', '00000000000000a6', NULL);
INSERT INTO "benchmark" ("id", "name", "current_version", "next_version", "retired_at") VALUES
(1, 'toy', 1, 2, '2026-11-25 09:00:00.000000');
INSERT INTO "file" ("sha256", "size", "references") VALUES
('ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb', 608, 2),
('3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d', 608, 2);
INSERT INTO "user" ("id", "name", "ranked_per_day", "ranked_per_version", "created_at", "verified", "role", "served_at", "session_generation", "ban", "deleted_at", "retired_name") VALUES
(1, 'alice', NULL, NULL, '2026-11-24 09:30:00.000000', 1, 'user', '2026-11-24 09:42:00.000000', 2, NULL, NULL, NULL),
(2, 'bob', 3, 9, '2026-11-24 09:31:00.000000', 1, 'admin', NULL, 0, NULL, NULL, NULL),
(3, 'deleted-3', NULL, NULL, '2026-11-24 09:31:30.000000', 1, 'user', NULL, 1, '{"reason": "Sends the same file often.", "contact": "ops@example.org", "at": "2026-11-24T10:41:00+00:00"}', '2026-11-24 10:42:00.000000', '4c26d9074c27d89ede59270c0ac14b71e071b15239519f75474b2f3ba63481f5');
INSERT INTO "alias" ("benchmark_id", "user_id", "number") VALUES
(1, 1, 1);
INSERT INTO "identity" ("provider", "subject", "user_id", "created_at") VALUES
('https://login.example.org', '248289', 1, '2026-11-24 09:32:00.000000');
INSERT INTO "token" ("id", "user_id", "digest", "created_at", "name", "scopes", "expires_at", "method", "claims") VALUES
(1, 1, '00903b35b33dc80d9058e53bea6d93acca59e2dbd81e4dd47a346422c51729f2', '2026-11-24 09:33:00.000000', 'notebook', '["manage", "submit"]', NULL, NULL, NULL),
(2, 1, '17b9639c99eebb8bf27dc599a4ae762accf05843cd8d926270098df9403f6c83', '2026-11-24 09:34:00.000000', 'ci', '["submit"]', '2026-11-30 15:30:00.000000', NULL, NULL),
(3, 2, '52300c648d7bf3be9967637971f2df7210fc207355efc3cffdd86324cc972f20', '2026-11-24 09:35:00.000000', 'notebook', '["manage", "submit"]', NULL, NULL, NULL),
(4, 1, '7b52009b64fd0a2a49e6d8a939753077792b0554d5a8d2a1a1d5a8b7e5bcd0a1', '2026-11-24 09:36:00.000000', 'ci-0123456789abcdef', '["submit"]', '2026-11-24 09:51:00.000000', 'trak', '{"publisher": 1, "provenance": {"repository": "example/attribution"}}');
INSERT INTO "publisher" ("id", "user_id", "method", "issuer", "repository", "repository_id", "owner_id", "workflow", "called_workflow", "environment", "branch", "created_at", "used_at", "offered_environment") VALUES
(1, 1, 'trak', 'https://token.actions.githubusercontent.com', 'example/attribution', '74', '65', '.github/workflows/lds.yml', 'example/shared/.github/workflows/score.yml', 'release', 'main', '2026-11-24 09:34:00.000000', '2026-11-24 09:36:00.000000', NULL),
(2, 2, 'ours', 'https://gitlab.com', 'group/project', '20', '72', '.gitlab-ci.yml', NULL, NULL, NULL, '2026-11-24 09:35:00.000000', NULL, 'test');
INSERT INTO "seen_jti" ("digest", "expires_at") VALUES
('a591a6d40bf420404a011733cfb7b190d62c65bf0bcda32b57b277d9ad9f146e', '2026-11-24 10:36:00.000000');
INSERT INTO "version" ("id", "benchmark_id", "version", "manifest", "created_at", "scorer_version", "board_revision", "ranked_revision", "reserve_subsets") VALUES
(1, 1, 1, '{"name": "toy", "version": 1, "n_train": 60, "n_targets": 2}', '2026-11-24 09:36:00.000000', 1, 3, 3, 2),
(2, 1, 2, '{"name": "toy", "version": 2, "n_train": 60, "n_targets": 2}', '2026-11-24 09:37:00.000000', 1, 3, 3, 0);
INSERT INTO "submission" ("id", "user_id", "version_id", "kind", "visibility", "state", "method", "title", "cost", "size", "file_sha256", "error", "created_at", "description", "tags", "urls", "pinned", "counted", "suspension", "replicate_of", "uses_subsets", "rerun_key") VALUES
('00000000000000a1', 1, 1, 'ranked', 'public', 'scored', 'trak', 'Title of trak: it''s 0', '{"gpu_hours": 1.5}', 608, 'ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb', NULL, '2026-11-24 09:50:00.000000', 'First line
second line', '["influence"]', '{"paper": "https://example.org/p?a=1"}', 1, 1, NULL, NULL, 0, 'f2d8f705e694c3d7854246510b91cd9463baed78ce47f6b3f4236e090de1a855'),
('00000000000000a2', 1, 1, 'ranked', 'anonymous', 'scored', 'trak', 'Title of trak: it''s 1', 'null', 608, '3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d', NULL, '2026-11-24 09:51:00.000000', 'First line
second line', '["influence"]', '{"paper": "https://example.org/p?a=1"}', 1, 1, NULL, '00000000000000a1', 1, NULL),
('00000000000000a3', 2, 1, 'practice', 'private', 'queued', 'ours', 'Title of ours: it''s 2', 'null', 608, 'ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb', NULL, '2026-11-24 09:52:00.000000', 'First line
second line', '["influence"]', '{"paper": "https://example.org/p?a=1"}', 0, 1, '{"reason": "Sent by mistake: it''s a copy.", "contact": "ops@example.org", "at": "2026-11-24T10:40:00+00:00"}', NULL, 0, NULL),
('00000000000000a4', 2, 1, 'ranked', 'public', 'rejected', 'ours', 'Title of ours: it''s 3', 'null', 608, NULL, '{"code": "scores.not_finite", "detail": "The evaluation failed.", "hint": "Send the file again."}', '2026-11-24 09:53:00.000000', 'First line
second line', '["influence"]', '{"paper": "https://example.org/p?a=1"}', 0, 1, NULL, NULL, 0, NULL),
('00000000000000a5', 2, 1, 'ranked', 'public', 'failed', 'ours', 'Title of ours: it''s 4', 'null', 608, '3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d', '{"code": "internal.failed", "detail": "The evaluation failed.", "hint": "Send the file again."}', '2026-11-24 09:54:00.000000', 'First line
second line', '["influence"]', '{"paper": "https://example.org/p?a=1"}', 0, 1, NULL, NULL, 0, NULL),
('00000000000000a6', 2, 1, 'ranked', 'public', 'withdrawn', 'ours', 'Title of ours: it''s 5', 'null', 608, NULL, NULL, '2026-11-24 09:55:00.000000', 'First line
second line', '["influence"]', '{"paper": "https://example.org/p?a=1"}', 0, 0, NULL, NULL, 0, NULL),
('00000000000000a7', 1, 1, 'ranked', 'public', 'uploading', 'trak', 'Title of trak: it''s 6', 'null', 608, NULL, NULL, '2026-11-24 09:56:00.000000', 'First line
second line', '["influence"]', '{"paper": "https://example.org/p?a=1"}', 0, 1, NULL, NULL, 0, NULL),
('00000000000000a8', 1, 1, 'ranked', 'public', 'expired', 'trak', 'Title of trak: it''s 7', 'null', 608, NULL, NULL, '2026-11-24 09:57:00.000000', 'First line
second line', '["influence"]', '{"paper": "https://example.org/p?a=1"}', 0, 0, NULL, NULL, 0, NULL);
INSERT INTO "evaluation" ("id", "submission_id", "version_id", "scorer_version", "created_at", "scored_at", "seconds", "rank_low", "rank_high", "claimed_at", "not_before", "failures", "in_family", "separable_from_first", "replicates", "percent", "claims", "losses", "job", "worker", "lost_workers") VALUES
(1, '00000000000000a1', 1, 1, '2026-11-24 10:01:00.000000', '2026-11-24 10:11:00.000000', 0.25, 1, 2, NULL, NULL, 0, 1, NULL, NULL, NULL, 1, 0, NULL, 'host-1/17', '[{"worker": "host-2/18", "kind": "ranked", "seen_at": "2026-11-24T10:06:00+00:00", "at": "2026-11-24T10:07:00+00:00"}]'),
(2, '00000000000000a1', 2, 1, '2026-11-24 10:02:00.000000', NULL, NULL, NULL, NULL, '2026-11-24 10:05:00.000000', NULL, 0, NULL, NULL, NULL, 40, 3, 1, 17, 'host-1/17', NULL),
(3, '00000000000000a2', 1, 1, '2026-11-24 10:03:00.000000', '2026-11-24 10:13:00.000000', 0.25, 1, 2, NULL, NULL, 0, 1, 0, '{"ids": ["00000000000000a1", "00000000000000a2"], "lds": 0.4375, "spread": 0.0221, "std_error": 0.03125, "ci_low": 0.34375, "ci_high": 0.46875, "z_random": 7.5, "p_random": 6.38178334582184e-14}', NULL, 1, 0, NULL, NULL, NULL),
(4, '00000000000000a3', 1, 1, '2026-11-24 10:04:00.000000', NULL, NULL, NULL, NULL, NULL, '2026-11-24 10:20:00.000000', 2, NULL, NULL, NULL, NULL, 2, 0, NULL, NULL, NULL),
(5, '00000000000000a5', 1, 1, '2026-11-24 10:05:00.000000', NULL, NULL, NULL, NULL, NULL, NULL, 4, NULL, NULL, NULL, NULL, 4, 0, NULL, NULL, NULL),
(6, '00000000000000a6', 1, 1, '2026-11-24 10:06:00.000000', NULL, NULL, NULL, NULL, NULL, NULL, 4, NULL, NULL, NULL, NULL, 4, 0, NULL, NULL, NULL);
INSERT INTO "event" ("id", "submission_id", "before", "after", "detail", "at") VALUES
(1, '00000000000000a1', NULL, 'uploading', NULL, '2026-11-24 10:11:00.000000'),
(2, '00000000000000a1', 'uploading', 'queued', NULL, '2026-11-24 10:12:00.000000'),
(3, '00000000000000a1', 'queued', 'scoring', NULL, '2026-11-24 10:13:00.000000'),
(4, '00000000000000a1', 'scoring', 'scored', NULL, '2026-11-24 10:14:00.000000'),
(5, '00000000000000a4', 'scoring', 'rejected', NULL, '2026-11-24 10:15:00.000000'),
(6, '00000000000000a5', 'scoring', 'failed', NULL, '2026-11-24 10:16:00.000000'),
(7, '00000000000000a6', 'scoring', 'failed', NULL, '2026-11-24 10:17:00.000000'),
(8, '00000000000000a6', 'failed', 'withdrawn', 'by its owner', '2026-11-24 10:18:00.000000'),
(9, '00000000000000a8', 'uploading', 'expired', NULL, '2026-11-24 10:19:00.000000');
INSERT INTO "idempotency" ("user_id", "route", "key", "submission_id", "sha256") VALUES
(1, 'PUT /benchmarks/toy/submissions', 'key-1', '00000000000000a1', 'ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb');
INSERT INTO "provenance" ("id", "submission_id", "repository", "commit", "url", "at", "branch", "number", "provider", "verified") VALUES
(1, '00000000000000a1', 'example/attribution', '0123456789abcdef0123456789abcdef01234567', 'https://example.org/run/1', '2026-11-24 09:51:00.000000', NULL, NULL, NULL, 0),
(2, '00000000000000a1', 'example/attribution', '0123456789abcdef0123456789abcdef01234567', 'https://example.org/run/2', '2026-11-24 09:52:00.000000', 'it''s-a-branch', 17, 'github', 1);
INSERT INTO "upload" ("submission_id", "digest", "sha256", "part_bytes", "expires_at", "stands_for") VALUES
('00000000000000a7', 'fd183c75b7ebe823ec2ff8472220561f5cdda8ce86221ac7985b86549606d8ed', '2e7d2c03a9507ae265ecf5b5356885a53393a2029d241394997265a1a25aefc6', 65536, '2026-11-25 10:30:00.000000', NULL),
('00000000000000a8', '4f934946d8769ad19b49af746a44461f137c67f9f803eaa11b8d334b406368a6', 'ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb', 65536, '2026-11-25 10:30:00.000000', '00000000000000a1');
INSERT INTO "attribution" ("evaluation_id", "target", "examples", "scores", "predictions") VALUES
(1, 0, X'05000000090000000200000007000000', X'0000000000000040000000000000F03F000000000000F0BF00000000000000C0', X'000000000000F03F00000000000000400000000000000840'),
(3, 0, X'05000000090000000200000007000000', X'0000000000000040000000000000F03F000000000000F0BF00000000000000C0', X'000000000000F03F00000000000000400000000000000840');
INSERT INTO "measurement" ("evaluation_id", "part", "lds", "std_error", "ci_low", "ci_high", "mean_p", "z_random", "p_random", "std_error_new_targets", "constant_predictions", "grid_loss", "warnings", "influence", "per_target") VALUES
(1, 'public', 0.421875, 0.03125, 0.34375, 0.46875, 0.0625, 7.5, 6.38178334582184e-14, 0.0625, 0, 0.0, '[]', X'000000000000E03F000000000000D0BF000000000000D0BF0000000000000000', X'000000000000D83F000000000000DC3F'),
(1, 'ranking', 0.421875, 0.03125, 0.34375, 0.46875, 0.0625, 7.5, 6.38178334582184e-14, NULL, 0, 0.0, '[]', X'000000000000E03F000000000000D0BF000000000000D0BF0000000000000000', X'000000000000D83F000000000000DC3F'),
(3, 'public', 0.453125, 0.03125, 0.34375, 0.46875, 0.0625, 7.5, 6.38178334582184e-14, 0.0625, 0, 0.0, '["scores.scale"]', X'000000000000E03F000000000000D0BF000000000000D0BF0000000000000000', X'000000000000D83F000000000000DC3F'),
(3, 'ranking', 0.453125, 0.03125, 0.34375, 0.46875, 0.0625, 7.5, 6.38178334582184e-14, NULL, 0, 0.0, '["scores.scale"]', X'000000000000E03F000000000000D0BF000000000000D0BF0000000000000000', X'000000000000D83F000000000000DC3F');
INSERT INTO "part" ("submission_id", "number", "sha256", "received_at") VALUES
('00000000000000a7', 0, '36b6f0204a800e7b687febe46ef87ebf43b5dc22f5f9741d78342964f9e656e0', '2026-11-24 10:30:00.000000'),
('00000000000000a7', 1, 'e21dcf13079a712a6ee683e2e6718de2bba2b8c11bc326e0c8fff2eb7303a822', '2026-11-24 10:31:00.000000');
INSERT INTO "webhook" ("id", "user_id", "url", "secret", "failures", "disabled_at", "created_at") VALUES
(1, 1, 'https://hooks.example.org/ldsboard?key=it''s', 'whsec_QUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUI=', 0, NULL, '2026-11-24 09:38:00.000000'),
(2, 2, 'https://hooks.example.org/off', 'whsec_REVGREVGREVGREVGREVGREVGREVGREVGREVGREVGREU=', 5, '2026-11-24 11:00:00.000000', '2026-11-24 09:39:00.000000');
INSERT INTO "webhook_call" ("id", "webhook_id", "submission_id", "event", "state", "attempts", "next_at", "status", "error", "created_at", "ended_at") VALUES
('00000000000000c1', 1, '00000000000000a1', 'scored', 'delivered', 2, '2026-11-24 10:16:00.000000', 204, NULL, '2026-11-24 10:14:00.000000', '2026-11-24 10:15:00.000000'),
('00000000000000c2', 2, '00000000000000a4', 'rejected', 'failed', 6, '2026-11-24 16:15:00.000000', 500, 'The receiver answered with status 500.', '2026-11-24 10:15:00.000000', '2026-11-24 17:15:00.000000'),
('00000000000000c3', 1, '00000000000000a2', 'scored', 'waiting', 1, '2026-11-24 10:20:00.000000', NULL, 'The connection to the receiver failed.', '2026-11-24 10:19:00.000000', NULL);
INSERT INTO "counterfactual" ("id", "submission_id", "version_id", "code", "created_at", "claimed_at", "claims", "worker", "percent", "failures", "not_before", "ended_at", "reason", "numbers", "falls", "headline") VALUES
(1, '00000000000000a1', 1, 1, '2026-11-30 10:01:00.000000', NULL, 1, NULL, NULL, 0, NULL, '2026-11-30 10:02:00.000000', NULL, '{"targets": [0], "sizes": [1], "headline": 1, "runs": 1, "before": [4.0], "seconds": 0.5, "rows": []}', X'000000000000F03F000000000000F0BF', X'000000000000F03F'),
(2, '00000000000000a2', 1, 1, '2026-11-30 10:03:00.000000', '2026-11-30 10:05:00.000000', 3, 'host-1/17', 40, 2, '2026-11-30 10:04:00.000000', NULL, NULL, NULL, NULL, NULL),
(3, '00000000000000a3', 1, 1, '2026-11-30 10:06:00.000000', NULL, 4, NULL, NULL, 4, NULL, '2026-11-30 10:07:00.000000', 'The server failed to train the models.', NULL, NULL, NULL);
INSERT INTO "review_link" ("submission_id", "digest", "created_at") VALUES
('00000000000000a2', '6b23c0d5f35d1b11f9b683f0b0a617355deb11277d91ae091d399c655b87940d', '2026-11-24 11:30:00.000000');
