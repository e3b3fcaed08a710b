"""Faust's recovery, replaced: after a rebalance the pipeline restores in bulk, then Faust resumes the streams.

The customer table stays registered with the app, because its changelog topic makes Faust's assignor put customers and
their events on the same worker, and tells every worker who owns what. Faust itself never reads or writes the changelog.
Overrides internals of faust-streaming 0.15.3 (pinned); tests/worker/test_transport_contract.py fails when they change.
"""

import logging

from aiokafka.errors import IllegalStateError
from faust.tables.manager import TableManager
from faust.tables.recovery import RebalanceAgain, Recovery, ServiceStopped
from faust.types import TP
from mode import Service

logger = logging.getLogger(__name__)


class BulkRecovery(Recovery):  # type: ignore[misc]
    """Hands restoring to `app.restore_partitions`; the rest of Faust's recovery service finds nothing to do."""

    mundane_level = "debug"

    @Service.task  # type: ignore[untyped-decorator]
    async def _restart_recovery(self) -> None:
        while not self.should_stop:
            if await self.wait_for_stopped(self.signal_recovery_start):
                break
            self.signal_recovery_start.clear()
            generation = self._generation_id
            try:
                actives, standbys = self._numbers_of(self.active_tps), self._numbers_of(self.standby_tps)
                await self._wait(self.app.restore_partitions(actives, standbys))
                await self._resume_streams(generation_id=generation)
            except RebalanceAgain:
                logger.info("another rebalance began while restoring")
            except IllegalStateError:
                logger.info("partitions were revoked while restoring")
            except ServiceStopped:
                break

    def _numbers_of(self, assigned: set[TP]) -> set[int]:
        return {tp.partition for tp in assigned if self._is_changelog_tp(tp)}


class BulkTableManager(TableManager):  # type: ignore[misc]
    """Faust's table manager with `BulkRecovery`."""

    mundane_level = "debug"

    _recovery: Recovery | None = None

    @property
    def recovery(self) -> Recovery:
        """Recovery service used by this table manager."""
        if self._recovery is None:
            self._recovery = BulkRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery
