"""Closed sets that reach the database."""

from __future__ import annotations

from django.db import models


class Scope(models.TextChoices):
    """What a key may be used for."""

    IMAGES_GENERATE = "images:generate"
    JOBS_READ = "jobs:read"
    JOBS_CANCEL = "jobs:cancel"
    MODELS_READ = "models:read"
    """List, search and look at models the account may use."""
    MODELS_WRITE = "models:write"
    """Import and delete the account's own private models."""
    MODELS_ADMIN = "models:admin"
    """The operator's: public models, the enterprise endpoints, any model whosoever it is."""
    WEBHOOKS_WRITE = "webhooks:write"
    """Replace the account's webhook secret, send tests, send deliveries again."""
    KEYS_WRITE = "keys:write"
    """See the account's keys, make keys that are no stronger, end such keys."""


ALL_SCOPES = tuple(Scope)
DEFAULT_SCOPES = (Scope.IMAGES_GENERATE, Scope.JOBS_READ, Scope.JOBS_CANCEL, Scope.MODELS_READ)
"""What a customer's key has unless somebody decides otherwise."""
CUSTOMER_SCOPES = (*DEFAULT_SCOPES, Scope.MODELS_WRITE, Scope.WEBHOOKS_WRITE, Scope.KEYS_WRITE)
"""What a customer's key may have; the others are the operator's."""
