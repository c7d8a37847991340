"""The resources of one server process: settings, database, files, scoring processes and limits."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING

from app import data_lock
from app.accounts.daily_quotas import DailyQuotas
from app.accounts.key_sets import KeySets
from app.accounts.quotas import Quotas, UnverifiedQuota
from app.accounts.rate_limits import RateLimiter, WaitLimiter
from app.accounts.shared_counts import SharedCounts
from app.benchmarks.catalog import current_versions, version_folder
from app.counterfactual.runner import Retrainings
from app.db.backends import own_connection
from app.db.presence import Presence, Use
from app.db.sessions import Database
from app.feedback.addresses import Addresses
from app.feedback.sender import Sender
from app.leaderboard.prospective_ranks import ProspectiveRanks
from app.management import recovery
from app.management.retention import Periods, Retention
from app.scoring.evaluator import Evaluator
from app.scoring.runner import Runner
from app.scoring.sandbox.client import Sandbox
from app.submissions import files
from app.submissions.opened_storage import open_storage
from app.submissions.signed_urls import check_signed_urls

if TYPE_CHECKING:
    from app.settings import Settings


class AppContext:
    """The resources of a server. The database must have the newest schema.

    Creating an AppContext locks the data folder and opens the database and the storage. `start` begins scoring; `close` ends
    scoring, closes the database and releases the lock.

    Raises
    ------
    RuntimeError
        Another server uses this data folder or database, and does not share it; others use the database with another data
        folder; or the bucket of score files cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        scores_here = bool(settings.scoring_processes)
        folder = settings.data_dir
        # With the same PostgreSQL database, a server in another folder would not have the files of this one.
        hint = "" if settings.database_url else ", or set LDSBOARD_DATA_DIR to another folder"
        self.data_lock = (
            data_lock.lock_data_folder(folder, hint).lock if scores_here else data_lock.share_data_folder(folder)
        )
        self.database = Database(
            settings.resolved_database_url, settings.busy_seconds, tickets=not scores_here, serving=True
        )
        use, number = Use.ALONE if scores_here else Use.SERVER, data_lock.folder_id(folder, create=True)
        self.presence = Presence(self.database, use, number)
        self.storage = open_storage(settings)
        if self.storage.takes_parts:
            check_signed_urls(self.storage)
        self.sandbox = Sandbox.of(settings.scoring_processes)
        self._retrainings = Retrainings.of(settings, self.database, self.storage) if scores_here else None
        undisturbed = nullcontext if self._retrainings is None else self._retrainings.paused
        self._evaluator = Evaluator(
            self.database, self.storage, settings.benchmarks_dir, self.sandbox, settings.retry_seconds, undisturbed
        )
        self.ranker = self._evaluator.ranker
        self.prospective_ranks = ProspectiveRanks()
        self._retention = Retention(self.database, self.storage, Periods.of(settings))
        self._orphans = recovery.OrphanSweep(self.database, self.storage)
        self.runner = Runner(self._evaluator.evaluate_next, settings.scoring_processes, self._recover)
        self.quotas = Quotas(
            settings.ranked_per_day,
            settings.ranked_per_version,
            settings.bytes_per_user,
            settings.uploads_per_user,
            settings.tokens_per_user,
            DailyQuotas(
                practice=settings.practice_per_day,
                uploads=settings.uploads_per_day,
                edits=settings.edits_per_day,
                tokens=settings.tokens_per_day,
                mints=settings.mints_per_day,
                webhooks=settings.webhooks_per_day,
            ),
            settings.publishers_per_user,
            UnverifiedQuota(
                settings.unverified_ranked_per_day,
                settings.unverified_ranked_per_version,
                settings.ranked_needs_approval,
            ),
        )
        self.issuers = settings.issuers
        self.key_sets = KeySets()
        self.mint_limiter = RateLimiter(settings.mints_per_minute)
        self.webhook_addresses = Addresses.of(settings)
        self._webhook_sender = Sender(
            self.database, self.webhook_addresses, settings.public_url, leads=self.presence.leads
        )
        self.rate_limiter = RateLimiter(settings.requests_per_minute)
        self.wait_limiter = WaitLimiter()
        self._shared_counts: SharedCounts | None = None

    def start(self) -> None:
        """Start the fork server, recover the work that an earlier process left unfinished, and start scoring.

        A server that leaves scoring to workers starts no fork server. Changed boards are ranked, and the calls of webhooks start
        unless the operator allows no webhooks.
        """
        if self.settings.scoring_processes:
            self.sandbox.start()
            with self.database.read() as session:
                for version in current_versions(session):
                    self.preload(version.benchmark.name, version.version)
        self.storage.delete_incomplete()
        if self.presence.leads():
            recovery.recover_at_start(self.database, self.storage, self.presence)
        self.ranker.renew_all()
        self.database.listen()
        if not self.presence.is_alone:
            limiters = {"requests": self.rate_limiter, "mints": self.mint_limiter}
            self._shared_counts = SharedCounts(partial(own_connection, self.database.engine), limiters)
        self.runner.start()
        if self._retrainings is not None:
            self._retrainings.start()
        if self.settings.webhooks_per_user:
            self._webhook_sender.start()

    def preload(self, benchmark: str, version: int) -> None:
        """Ask the fork server to load the ground truth of a version before the first file arrives; return without waiting."""
        self.sandbox.preload(version_folder(self.settings.benchmarks_dir, benchmark, version))

    def close(self) -> None:
        """Stop scoring and webhooks, close the database, and release the lock of the data folder.

        Running evaluations get a few seconds to end. The next start of a server requeues those that do not end in time.
        """
        self._webhook_sender.stop()
        if self._retrainings is not None:
            self._retrainings.stop()
        if self.runner.stop():
            self.sandbox.stop()
        # If evaluations still run, the fork server is left running until this process ends: without the fork server, these
        # evaluations would count as failed.
        if self._shared_counts is not None:
            self._shared_counts.stop()
        self.database.close()
        self.presence.close()
        self.data_lock.release()

    def _recover(self) -> None:
        files.delete_undeleted(self.database, self.storage)
        if not self.presence.leads():
            return
        recovery.expire_multipart_uploads(self.database, self.storage)
        running = self._evaluator.running.keys() if self.settings.scoring_processes else None
        recovery.recover_lost(self.database, running, self.presence)
        self.ranker.renew_all()
        self._orphans.sweep_if_due()
        self._retention.sweep_if_due()
