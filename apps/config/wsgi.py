"""The WSGI application that gunicorn serves."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "apps.config.settings")

from apps.core.chunked import ChunkedBodyMiddleware  # settings must be named first
from apps.core.flushing import Flusher

application = ChunkedBodyMiddleware(get_wsgi_application())
# gunicorn loads this in each of its processes, after the fork.
Flusher("web").start()
