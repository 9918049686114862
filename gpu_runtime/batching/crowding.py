"""Which requests find a place on the device beside what others wait for there.

ControlNets and IP-adapters are brought beside their checkpoint for the turns that use them. Where the device
does not hold all of them at once, requests that took turns freely would push out each other's at every turn.
So a request whose networks would push out what is there and waited for is treated like one whose checkpoint
is not resident: it is held back for a while (`leading`), and joins no turn of the others (`sharing`).

Assumption: a request needs its networks in all of its steps, also those outside of their windows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gpu_runtime.batching.groups import Group
from gpu_runtime.batching.turns import Device, ExtraNetwork


@dataclass(frozen=True, slots=True)
class Crowd:
    """What is on the device and waited for, at the beginning of one turn."""

    device: Device
    checkpoints: frozenset[str]
    """Digests."""
    networks: frozenset[ExtraNetwork]
    """Those of requests whose checkpoint is there as well: the others must wait in any case."""

    @classmethod
    def of(cls, groups: Sequence[Group], device: Device) -> Crowd:
        """`groups` are all that wait."""
        resident = [group for group in groups if group.key.checkpoint in device.resident]
        networks = {network for group in resident for network in group.networks}
        return cls(
            device=device,
            checkpoints=frozenset(group.key.checkpoint for group in resident),
            networks=frozenset(network for network in networks if device.is_lent(network)),
        )

    def has_place(self, group: Group) -> bool:
        """Whether a waiting group's checkpoint is resident, and nothing here would leave for its networks."""
        if group.key.checkpoint not in self.device.resident:
            return False
        return self._fits(self.checkpoints, self.networks, group)

    def together(self, leader: Group, groups: Iterable[Group]) -> list[Group]:
        """Those of these groups, all of the leader's key, whose networks may be there in its turn.

        Who comes first takes the room. A leader that has no place takes that of what is here. While its
        checkpoint is not resident it shares with those that need no more than it does.
        """
        checkpoints, networks = frozenset({leader.key.checkpoint}), leader.networks
        if self.has_place(leader):
            checkpoints, networks = self.checkpoints, self.networks | networks
        chosen = []
        for group in groups:
            if self._fits(checkpoints, networks, group):
                networks = networks | group.networks
                chosen.append(group)
        return chosen

    def _fits(self, checkpoints: frozenset[str], networks: frozenset[ExtraNetwork], group: Group) -> bool:
        """Whether the group's networks are among these, or fit beside all of them."""
        if group.networks <= networks:
            return True
        is_size_known = all(checkpoint in self.device.resident for checkpoint in checkpoints)
        return is_size_known and self.device.fits(checkpoints, networks | group.networks)
