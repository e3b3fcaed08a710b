"""Follows the policy that the trainer learns: a new one is in force from the next batch on, without a restart.

Each partition notes the version in its partition record before its first use, and every decision carries it. A policy
that does not fit changes nothing: the last good one stays, and the log says what was wrong.
"""

import hashlib
import logging
from collections.abc import Callable

from stream_app.adapters.logs import fields
from stream_app.adapters.metrics import Recorder
from stream_app.adapters.model_registry import ModelRegistry, Stored
from stream_app.decisions.policy import PolicyError, PolicySnapshot
from stream_app.decisions.policy_record import decode_policy
from stream_app.decisions.types import Decider
from stream_app.settings import Settings

logger = logging.getLogger(__name__)


class PolicyFollower:
    """Looks at the registry whenever something was read, and hands over a decider for each new policy.

    Beliefs of actions that the catalogue does not have are ignored; of an action that the policy does not know, what
    the catalogue says is believed. Where a file or the setting pins the beliefs, nothing is followed.

    Parameters
    ----------
    settings
        Whether to follow; HMAC key.
    version
        The policy in force at the start.
    decider_for
        Makes a decider for beliefs; None: the catalogue's own.
    on_decider
        Called on the event loop with each decider that is to be in force from now on.
    metrics
        Version in force; policies loaded and refused.
    """

    def __init__(
        self,
        settings: Settings,
        version: str,
        decider_for: Callable[[PolicySnapshot | None], Decider],
        on_decider: Callable[[Decider], None],
        metrics: Recorder,
    ) -> None:
        self.follows = settings.policy == "learned" and settings.policy_file is None
        self._key = settings.model_key.get_secret_value().encode()
        self._version = version
        self._decider_for = decider_for
        self._on_decider = on_decider
        self._metrics = metrics
        self._seen: Stored | None = None
        self._is_learned = False
        metrics.gauge("policy_info", 1, version=version)

    @property
    def version(self) -> str:
        """Return the version of the policy in force, as far as this follower put it there."""
        return self._version

    def look(self, registry: ModelRegistry) -> bool:
        """Take in what the topic says by now; return whether another policy is in force because of it."""
        stored = registry.policy
        if not self.follows or stored is self._seen:
            return False
        self._seen = stored
        if stored is None:
            # Somebody took it back, by a tombstone: believe the catalogue again.
            return self._is_learned and self._put_into_force(None)
        if stored.digest and stored.digest != hashlib.sha256(stored.value).hexdigest():
            return self._refuse("damaged", "its bytes do not fit the SHA-256 beside them")
        try:
            policy = decode_policy(stored.value, self._key)
        except PolicyError as error:
            return self._refuse("invalid", str(error))
        return policy.version != self._version and self._put_into_force(policy)

    def _refuse(self, reason: str, problem: str) -> bool:
        self._metrics.count("policies_refused", reason=reason)
        logger.error("policy not taken over, %s stays in force: %s", self._version, problem)
        return False

    def _put_into_force(self, policy: PolicySnapshot | None) -> bool:
        decider = self._decider_for(policy)
        self._metrics.forget("policy_info", version=self._version)
        self._version, self._is_learned = decider.policy_version, policy is not None
        self._metrics.count("policies_loaded")
        self._metrics.gauge("policy_info", 1, version=self._version)
        self._on_decider(decider)
        logger.info("policy %s in force", self._version, extra=fields(actions=len(policy.beliefs) if policy else 0))
        return True
