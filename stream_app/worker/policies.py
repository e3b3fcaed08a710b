"""Follows the policy that the trainer learns: a new one is in force from the next batch on, without a restart.

Each partition notes the version in its partition record before its first use, and every decision carries it. A policy
that does not fit changes nothing: the last good one stays, and the log says what was wrong.
"""

import logging
from collections.abc import Callable

from stream_app.adapters.logs import fields
from stream_app.adapters.metrics import Recorder
from stream_app.adapters.model_registry import ModelRefusedError, ModelRegistry
from stream_app.adapters.policy_versions import PolicyChoice
from stream_app.decisions.policy import PolicySnapshot
from stream_app.decisions.types import Decider
from stream_app.settings import Settings

logger = logging.getLogger(__name__)


class PolicyFollower:
    """Looks at the registry whenever something was read, and hands over a decider for each new policy.

    A version that a person pinned stands above what the trainer learned, until the pin is released.

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
        self.follows = settings.policy != "catalogue" and settings.policy_file is None
        self._method = settings.policy
        self._key = settings.model_key.get_secret_value().encode()
        self._version = version
        self._decider_for = decider_for
        self._on_decider = on_decider
        self._metrics = metrics
        self._seen: PolicyChoice | None = None
        self._is_learned = False
        metrics.gauge("policy_info", 1, version=version)

    @property
    def version(self) -> str:
        """Return the version of the policy in force, as far as this follower put it there."""
        return self._version

    def look(self, registry: ModelRegistry) -> bool:
        """Take in what the topic says by now; return whether another policy is in force because of it."""
        policies = registry.policies
        if not self.follows or policies.choice(self._method) == self._seen:
            return False
        self._seen = policies.choice(self._method)
        try:
            policy = policies.load_chosen(self._method, self._key)
        except ModelRefusedError as error:
            self._metrics.count("policies_refused", reason=error.code)
            logger.error(  # noqa: TRY400 - the message says it all
                "policy not taken over, %s stays in force: %s", self._version, error, extra=fields(reason=error.code)
            )
            return False
        # None: somebody pinned the prior, or took the policy back by a tombstone. The catalogue is believed again.
        is_other = self._is_learned if policy is None else policy.version != self._version
        if is_other:
            self._put_into_force(policy)
        return is_other

    def _put_into_force(self, policy: PolicySnapshot | None) -> None:
        decider = self._decider_for(policy)
        self._metrics.forget("policy_info", version=self._version)
        self._version, self._is_learned = decider.policy_version, policy is not None
        self._metrics.count("policies_loaded")
        self._metrics.gauge("policy_info", 1, version=self._version)
        self._on_decider(decider)
        logger.info("policy %s in force", self._version, extra=fields(actions=len(policy.beliefs) if policy else 0))
