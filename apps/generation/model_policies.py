"""Carries what operators want of weights to one worker's engine: keep warm, pin, load anew, forget.

The engine decides about everything else by itself. Rows are the truth and are looked at from time to time;
nothing here waits for the device.
"""

from __future__ import annotations

import time
from datetime import datetime

from apps.catalog.choices import Kind, ResidencyPolicy
from apps.catalog.models import CatalogEntry
from apps.core.clock import now
from gpu_runtime.messages import CheckpointRef, EngineProtocol, HeldWeights, Residency

LOOK_INTERVAL_S = 5.0
# A warm checkpoint that was evicted comes back only after so much quiet: else it and the one it gave way to
# would push each other out between two requests.
QUIET_S = 30.0
KEPT = (ResidencyPolicy.WARM, ResidencyPolicy.PINNED)


def checkpoint_ref(checkpoint: CatalogEntry) -> CheckpointRef:
    """The checkpoint as the runtime takes it."""
    return CheckpointRef(
        name=checkpoint.name,
        family=checkpoint.family,
        path=checkpoint.path,
        digest=checkpoint.digest,
        variant=checkpoint.variant,
        keep_alive_s=checkpoint.keep_alive_s,
        is_pinned=checkpoint.residency_policy == ResidencyPolicy.PINNED,
    )


class ModelPolicies:
    """For one session of a pump."""

    def __init__(self, engine: EngineProtocol) -> None:
        self._engine = engine
        self._reloads_seen_at = now()
        self._to_reload: dict[str, CatalogEntry] = {}
        """By digest; what requests in progress still use is loaded anew once they have ended."""
        self._next_look = 0.0
        self._busy_at = time.monotonic() - QUIET_S

    def apply(self) -> None:
        """Hand on what changed since the last look. Cheap when called too often."""
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + LOOK_INTERVAL_S
        self._update_held()
        for entry in self._reloads_since(self._reloads_seen_at):
            self._reloads_seen_at = max(self._reloads_seen_at, entry.reload_requested_at or entry.created_at)
            self._to_reload[entry.digest] = entry
        self._reload()
        if not self._engine.has_work() and time.monotonic() - self._busy_at >= QUIET_S:
            self._warm()

    def note_work(self) -> None:
        """The engine has requests: evicted checkpoints stay out for a while."""
        self._busy_at = time.monotonic()

    def _reload(self) -> None:
        for digest, entry in list(self._to_reload.items()):
            self._engine.unload(digest)
            if all(weights.digest != digest for weights in self._held()):
                del self._to_reload[digest]
                self._engine.warm(checkpoint_ref(entry))

    def _warm(self) -> None:
        # By digest: two entries may have the same weights, of which the engine knows one name.
        resident = {held.digest for held in self._held() if held.residency is Residency.RESIDENT}
        wanted = CatalogEntry.objects.live().filter(
            kind=Kind.CHECKPOINT, is_enabled=True, residency_policy__in=KEPT
        )
        for entry in wanted.order_by("-use_count", "pk"):
            if entry.digest not in resident:
                resident.add(entry.digest)
                self._engine.warm(checkpoint_ref(entry))

    def _update_held(self) -> None:
        """Weights of what was deleted or disabled leave the device; the others learn of a new pin."""
        held = self._held()
        if not held:
            return
        digests = [weights.digest for weights in held]
        alive = CatalogEntry.objects.live().filter(digest__in=digests, is_enabled=True).order_by("pk")
        entries: dict[str, CatalogEntry] = {}
        for entry in alive:
            # Of several entries with the same weights, one that pins them decides.
            if entry.digest not in entries or entry.residency_policy == ResidencyPolicy.PINNED:
                entries[entry.digest] = entry
        for weights in held:
            found = entries.get(weights.digest)
            if found is None:
                self._engine.unload(weights.digest)
            elif found.kind == Kind.CHECKPOINT and weights.residency is Residency.RESIDENT:
                ref = checkpoint_ref(found)
                if ref.is_pinned != weights.is_pinned:
                    self._engine.warm(ref)

    def _held(self) -> tuple[HeldWeights, ...]:
        return self._engine.info().held

    def _reloads_since(self, moment: datetime) -> list[CatalogEntry]:
        entries = CatalogEntry.objects.live().filter(kind=Kind.CHECKPOINT, is_enabled=True)
        return list(entries.filter(reload_requested_at__gt=moment).order_by("reload_requested_at"))
