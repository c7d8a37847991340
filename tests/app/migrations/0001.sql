-- Rows of every table at revision 0001, written by the models of that time.
INSERT INTO "benchmark" ("id", "name", "current_version") VALUES
(1, 'toy', 1);
INSERT INTO "file" ("sha256", "size", "references") VALUES
('ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb', 608, 2),
('3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d', 608, 2);
INSERT INTO "user" ("id", "name", "ranked_per_day", "ranked_per_version", "created_at") VALUES
(1, 'alice', NULL, NULL, '2026-11-24 09:30:00.000000'),
(2, 'bob', 3, 9, '2026-11-24 09:31:00.000000');
INSERT INTO "token" ("id", "user_id", "digest", "created_at") VALUES
(1, 1, '00903b35b33dc80d9058e53bea6d93acca59e2dbd81e4dd47a346422c51729f2', '2026-11-24 09:33:00.000000'),
(2, 1, '17b9639c99eebb8bf27dc599a4ae762accf05843cd8d926270098df9403f6c83', '2026-11-24 09:34:00.000000'),
(3, 2, '52300c648d7bf3be9967637971f2df7210fc207355efc3cffdd86324cc972f20', '2026-11-24 09:35:00.000000');
INSERT INTO "version" ("id", "benchmark_id", "version", "manifest", "created_at") VALUES
(1, 1, 1, '{"name": "toy", "version": 1, "n_train": 60, "n_targets": 2}', '2026-11-24 09:36:00.000000'),
(2, 1, 2, '{"name": "toy", "version": 2, "n_train": 60, "n_targets": 2}', '2026-11-24 09:37:00.000000');
INSERT INTO "submission" ("id", "user_id", "version_id", "kind", "visibility", "state", "method", "title", "cost", "size", "file_sha256", "error", "failures", "created_at") VALUES
('00000000000000a1', 1, 1, 'ranked', 'public', 'scored', 'trak', 'Title of trak: it''s 0', '{"gpu_hours": 1.5}', 608, 'ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb', NULL, 0, '2026-11-24 09:50:00.000000'),
('00000000000000a2', 1, 1, 'ranked', 'anonymous', 'scored', 'trak', 'Title of trak: it''s 1', 'null', 608, '3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d', NULL, 0, '2026-11-24 09:51:00.000000'),
('00000000000000a3', 2, 1, 'practice', 'private', 'queued', 'ours', 'Title of ours: it''s 2', 'null', 608, 'ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb', NULL, 2, '2026-11-24 09:52:00.000000'),
('00000000000000a4', 2, 1, 'ranked', 'public', 'rejected', 'ours', 'Title of ours: it''s 3', 'null', 608, NULL, '{"code": "scores.not_finite", "detail": "The evaluation failed.", "hint": "Send the file again."}', 0, '2026-11-24 09:53:00.000000'),
('00000000000000a5', 2, 1, 'ranked', 'public', 'failed', 'ours', 'Title of ours: it''s 4', 'null', 608, '3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d', '{"code": "internal.failed", "detail": "The evaluation failed.", "hint": "Send the file again."}', 4, '2026-11-24 09:54:00.000000'),
('00000000000000a6', 2, 1, 'ranked', 'public', 'withdrawn', 'ours', 'Title of ours: it''s 5', 'null', 608, NULL, NULL, 4, '2026-11-24 09:55:00.000000'),
('00000000000000a7', 1, 1, 'ranked', 'public', 'uploading', 'trak', 'Title of trak: it''s 6', 'null', 608, NULL, NULL, 0, '2026-11-24 09:56:00.000000'),
('00000000000000a8', 1, 1, 'ranked', 'public', 'expired', 'trak', 'Title of trak: it''s 7', 'null', 608, NULL, NULL, 0, '2026-11-24 09:57:00.000000');
INSERT INTO "evaluation" ("id", "submission_id", "version_id", "scorer_version", "created_at", "scored_at", "seconds", "rank_low", "rank_high") VALUES
(1, '00000000000000a1', 1, 1, '2026-11-24 10:01:00.000000', '2026-11-24 10:11:00.000000', 0.25, 1, 2),
(2, '00000000000000a1', 2, 1, '2026-11-24 10:02:00.000000', NULL, NULL, NULL, NULL),
(3, '00000000000000a2', 1, 1, '2026-11-24 10:03:00.000000', '2026-11-24 10:13:00.000000', 0.25, 1, 2),
(4, '00000000000000a3', 1, 1, '2026-11-24 10:04:00.000000', NULL, NULL, NULL, NULL),
(5, '00000000000000a5', 1, 1, '2026-11-24 10:05:00.000000', NULL, NULL, NULL, NULL),
(6, '00000000000000a6', 1, 1, '2026-11-24 10:06:00.000000', NULL, NULL, NULL, NULL);
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
INSERT INTO "idempotency" ("user_id", "route", "key", "submission_id") VALUES
(1, 'PUT /benchmarks/toy/submissions', 'key-1', '00000000000000a1');
INSERT INTO "measurement" ("evaluation_id", "part", "lds", "std_error", "ci_low", "ci_high", "mean_p", "z_random", "std_error_new_targets", "constant_predictions", "grid_loss", "warnings", "influence", "per_target") VALUES
(1, 'public', 0.421875, 0.03125, 0.34375, 0.46875, 0.0625, 7.5, 0.0625, 0, 0.0, '[]', X'000000000000E03F000000000000D0BF000000000000D0BF0000000000000000', X'000000000000D83F000000000000DC3F'),
(1, 'ranking', 0.421875, 0.03125, 0.34375, 0.46875, 0.0625, 7.5, NULL, 0, 0.0, '[]', X'000000000000E03F000000000000D0BF000000000000D0BF0000000000000000', X'000000000000D83F000000000000DC3F'),
(3, 'public', 0.453125, 0.03125, 0.34375, 0.46875, 0.0625, 7.5, 0.0625, 0, 0.0, '["scores.scale"]', X'000000000000E03F000000000000D0BF000000000000D0BF0000000000000000', X'000000000000D83F000000000000DC3F'),
(3, 'ranking', 0.453125, 0.03125, 0.34375, 0.46875, 0.0625, 7.5, NULL, 0, 0.0, '["scores.scale"]', X'000000000000E03F000000000000D0BF000000000000D0BF0000000000000000', X'000000000000D83F000000000000DC3F');
