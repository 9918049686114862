"""Plans about the caller: its account's keys, and what has been used."""

from __future__ import annotations

from typing import Unpack
from urllib.parse import quote

from darkroom.bodies import decode
from darkroom.core import Core, Flow, Plan, Request, json_request
from darkroom.listing import pages
from darkroom.schema import IssuedKey, Key, KeyFields, Usage
from darkroom.sending import send


def list_keys(core: Core, *, limit: int | None = None) -> Flow[Key]:
    """Keys of the account, newest first, at most `limit`."""
    return pages(core, "/v1/keys", Key, limit=limit, filters={})


def current_key(core: Core) -> Plan[Key]:
    """The key that this client uses."""
    return get_key(core, "current")


def get_key(core: Core, key_id: str) -> Plan[Key]:
    """One key, by the public part of its text."""
    reply = yield from send(core, Request(method="GET", path=_key(key_id)))
    return decode(Key, reply.json())


def create_key(core: Core, name: str, /, **fields: Unpack[KeyFields]) -> Plan[IssuedKey]:
    """A new key, no stronger than the one in use; its text is in `key`, and is never shown again.

    Not sent again after a connection that broke: look into the list first, and revoke what nobody has.
    """
    wanted = {name_: value for name_, value in fields.items() if value is not None}
    reply = yield from send(core, json_request("POST", "/v1/keys", {"name": name, **wanted}))
    return decode(IssuedKey, reply.json())


def revoke_key(core: Core, key_id: str) -> Plan[Key]:
    """End a key at once. Raises Conflict when it was revoked before."""
    # Not repeatable: the answer to the second would be a refusal.
    reply = yield from send(core, Request(method="DELETE", path=_key(key_id), is_repeatable=False))
    return decode(Key, reply.json())


def usage(core: Core) -> Plan[Usage]:
    """Today's calls, the queue, what the plan allows, and the days before."""
    reply = yield from send(core, Request(method="GET", path="/v1/usage"))
    return decode(Usage, reply.json())


def _key(key_id: str) -> str:
    return f"/v1/keys/{quote(key_id, safe='')}"
