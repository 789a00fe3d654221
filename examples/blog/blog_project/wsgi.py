"""The WSGI application: what the site file names, and what the server calls for each request."""

import os

from django.core.management import call_command
from django.core.wsgi import get_wsgi_application

from . import state

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "blog_project.settings")

application = get_wsgi_application()

# Only for the comfort of this example, which is to work at the first visit: it makes its own database. A real
# deployment runs "python manage.py migrate" before it starts new code; workers that change tables while others still
# serve are trouble.
if state.is_database_missing():
    call_command("prepare")
