"""A worker: a process that scores for the servers of a PostgreSQL database, and requeues what dead workers had claimed."""

from __future__ import annotations

import asyncio
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import procrastinate
import psycopg
import structlog
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Status
from procrastinate.manager import JobManager
from sqlalchemy.exc import SQLAlchemyError

from app.db import backends
from app.db.tickets import Queue
from app.errors import BusyError
from app.scoring import lost_evaluations
from app.submissions import files

if TYPE_CHECKING:
    from collections.abc import Callable

    from procrastinate.jobs import Job

    from app.db.presence import Presence
    from app.scoring.evaluator import Evaluator

HEARTBEAT_SECONDS = 10.0
"""Seconds between two heartbeats of a worker, which counts as dead after `lost_evaluations.STALLED_SECONDS` without one."""

STOP_SECONDS, RELEASE_SECONDS = 7.0, 2.0
"""Seconds within which a worker ends its work once it is asked to stop, and seconds of it for requeueing what still runs."""

POLL_SECONDS = 2.0
"""Seconds after which a worker looks for tickets without a notification, such as those of retries."""

RECOVERY = "recovery"
"""Name of the periodic task that looks for lost evaluations and missing tickets, and of its queue."""

RECOVERY_TIMES = "* * * * * */10"
"""Times of the periodic task, for croniter: the sixth column holds seconds."""

PRESENCE = "presence"
"""Name of the thread that gives signs of life."""

AWAY_SECONDS = 1.0
"""Seconds after which a worker with a ticket asks again whether the store of score files is back."""

RESTART_SECONDS = 1.0
"""Seconds after which a worker that lost the database tries again."""

log = structlog.get_logger()


class Worker:
    """Runs evaluations for the tickets in the database until it is asked to stop.

    Rescorings have one slot of their own beside the slots of first evaluations, so that they never delay these.

    Parameters
    ----------
    address
        Address of the PostgreSQL database, as libpq reads it: ``host=… dbname=…``.
    concurrency
        Number of first evaluations that run at the same time.
    """

    def __init__(self, address: str, evaluator: Evaluator, presence: Presence, concurrency: int) -> None:
        self._evaluator = evaluator
        self._presence = presence
        self._slots = {Queue.SCORING.value: concurrency, Queue.RESCORING.value: 1, RECOVERY: 1}
        self._threads = {name: ThreadPoolExecutor(slots, name) for name, slots in (self._slots | {PRESENCE: 1}).items()}
        # One of the connections waits for notifications all the time.
        # A process that is frozen between statement and commit would hold locks of procrastinate's tables.
        options = {
            **backends.PostgreSQL.connect_args,
            "options": f"-c idle_in_transaction_session_timeout={backends.IDLE_SECONDS}s",
        }
        connector = procrastinate.PsycopgConnector(conninfo=address, kwargs=options, min_size=1, max_size=8)
        self._app = procrastinate.App(connector=connector)
        self._app.job_manager = _Tickets(connector)
        for queue in Queue:
            self._app.task(name=queue.value, queue=queue.value, pass_context=True)(self._score)
        # The lock keeps calls from piling up while all workers are frozen. A call is never retried, which would break the lock.
        recover = self._app.task(name=RECOVERY, queue=RECOVERY, queueing_lock=RECOVERY)(self._recover)
        self._app.periodic(cron=RECOVERY_TIMES)(recover)
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Work until SIGINT or SIGTERM; if the database goes away, try again until it is back.

        After the signal, this method takes at most `STOP_SECONDS`. Tasks and threads can be left that wait for the database or
        for results; end the scoring processes and then this process.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        working = asyncio.create_task(self._work_until_stopped())
        await self._stop.wait()
        await asyncio.wait([working], timeout=STOP_SECONDS - RELEASE_SECONDS)
        # In a thread of its own, because all others may be waiting.
        releasing = loop.run_in_executor(ThreadPoolExecutor(1, "release"), self._evaluator.release)
        await asyncio.wait([releasing], timeout=RELEASE_SECONDS)

    async def _work_until_stopped(self) -> None:
        while not self._stop.is_set():
            try:
                await self._in_thread(PRESENCE, self._presence.renew)
                async with self._app.open_async():
                    await self._work()
            except (ConnectorException, SQLAlchemyError, psycopg.Error, BusyError, OSError) as error:
                log.warning("worker.disconnected", about="the database is away; trying again", error=repr(error))
            except RuntimeError as error:  # another process uses the database alone
                log.warning("worker.excluded", about=str(error))
            await _first(self._stop.wait(), asyncio.sleep(RESTART_SECONDS))

    async def _work(self) -> None:
        """Run procrastinate's workers and give signs of life, until the stop or until one of them loses the database."""
        working = [
            asyncio.create_task(
                self._app.run_worker_async(
                    queues=[name],
                    concurrency=slots,
                    fetch_job_polling_interval=POLL_SECONDS,
                    listen_notify=name == Queue.SCORING,  # a connection that listens wakes up ten times a second
                    shutdown_graceful_timeout=STOP_SECONDS - 2 * RELEASE_SECONDS,
                    update_heartbeat_interval=HEARTBEAT_SECONDS,
                    stalled_worker_timeout=lost_evaluations.STALLED_SECONDS,
                    delete_jobs="always",
                    install_signal_handlers=False,
                )
            )
            for name, slots in self._slots.items()
        ]
        working.append(asyncio.create_task(self._give_signs_of_life()))
        await _first(self._stop.wait(), *working)
        for task in working:
            task.cancel()
        for ended in await asyncio.gather(*working, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended

    async def _give_signs_of_life(self) -> None:
        """Show on the operator's page that this process is not frozen, and take its locks again if it has lost them."""
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            await self._in_thread(PRESENCE, self._presence.renew)

    async def _score(self, context: procrastinate.JobContext) -> None:
        """Run the next evaluation of the queue of a ticket, if there is one; wait while the store of score files is out of reach.

        A worker that ended its tickets at once would take those of the workers that can reach the store.
        """
        queue = Queue(context.job.queue)
        while await self._in_thread(queue.value, self._evaluator.storage.is_away):
            await _first(self._stop.wait(), asyncio.sleep(AWAY_SECONDS))
            if self._stop.is_set():
                return
        await self._in_thread(queue.value, lambda: self._evaluator.evaluate_next(queue, job=context.job.id))

    async def _recover(self, timestamp: int) -> None:  # noqa: ARG002 -- the time of the call
        """Requeue what dead workers had claimed, delete their tickets, and replace missing tickets.

        Also try again to delete the files that this worker could not delete.
        """
        manager = self._app.job_manager
        seconds = lost_evaluations.STALLED_SECONDS
        stalled: list[Job] = list(await manager.get_stalled_jobs(seconds_since_heartbeat=seconds))
        await self._in_thread(RECOVERY, lambda: lost_evaluations.recover(self._evaluator.database, seconds))
        for job in stalled:
            if job.id is not None:
                # Only after the commit above: without its ticket, an evaluation that is still claimed would count as lost.
                await manager.finish_job_by_id_async(job.id, status=Status.FAILED, delete_job=True)
        database, storage = self._evaluator.database, self._evaluator.storage
        await self._in_thread(RECOVERY, lambda: files.delete_undeleted(database, storage))

    async def _in_thread(self, name: str, work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads[name], work)


class _Tickets(JobManager):
    """The tickets, one of which another worker may have deleted meanwhile: this one was frozen, or both delete a stalled one."""

    async def finish_job_by_id_async(self, job_id: int, status: Status, delete_job: bool) -> None:
        """Delete a ticket that this worker has used, or that is stalled."""
        try:
            await super().finish_job_by_id_async(job_id, status, delete_job)
        except ConnectorException as error:
            if not isinstance(error.__cause__, psycopg.errors.RaiseException):
                raise
            log.warning("ticket.gone", about="another worker has deleted the ticket", ticket=job_id)


async def _first(*awaitables: Any) -> None:
    """Wait until the first of some awaitables is done; cancel those that are not tasks of the caller."""
    tasks = [asyncio.ensure_future(each) for each in awaitables]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task, given in zip(tasks, awaitables, strict=True):
        if task is not given:
            task.cancel()
