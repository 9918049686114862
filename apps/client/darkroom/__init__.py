"""Darkroom from Python: `Darkroom` blocks, `AsyncDarkroom` awaits. Errors are in `darkroom.errors`."""

from __future__ import annotations

from darkroom.client import AsyncDarkroom as AsyncDarkroom
from darkroom.client import Darkroom as Darkroom
from darkroom.errors import AuthenticationError as AuthenticationError
from darkroom.errors import Conflict as Conflict
from darkroom.errors import ContentRefused as ContentRefused
from darkroom.errors import DarkroomError as DarkroomError
from darkroom.errors import ImportFailed as ImportFailed
from darkroom.errors import InvalidRequest as InvalidRequest
from darkroom.errors import JobCanceled as JobCanceled
from darkroom.errors import JobFailed as JobFailed
from darkroom.errors import ModelNotFound as ModelNotFound
from darkroom.errors import ModelNotInstalled as ModelNotInstalled
from darkroom.errors import NotFound as NotFound
from darkroom.errors import NotReachable as NotReachable
from darkroom.errors import PaymentRequired as PaymentRequired
from darkroom.errors import PermissionDenied as PermissionDenied
from darkroom.errors import QueueFull as QueueFull
from darkroom.errors import QuotaExceeded as QuotaExceeded
from darkroom.errors import Refused as Refused
from darkroom.errors import ServerFault as ServerFault
from darkroom.errors import TimedOut as TimedOut
from darkroom.errors import UnexpectedAnswer as UnexpectedAnswer
from darkroom.errors import WaitTimeout as WaitTimeout
from darkroom.records import Done as Done
from darkroom.records import Import as Import
from darkroom.records import Job as Job
from darkroom.records import Model as Model
from darkroom.records import Preview as Preview
from darkroom.records import Progressed as Progressed
from darkroom.records import StateChanged as StateChanged
from darkroom.version import VERSION

__version__ = VERSION
