"""python manage.py prepare: a database to begin with."""

from __future__ import annotations

import secrets
import sys
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from blog_project import state
from django.contrib.auth import get_user_model
from django.core.management import BaseCommand, call_command
from django.db import connection
from django.utils import timezone

from ...models import Comment, Post

WAKING = """\
Nobody had opened this blog for a while, so nothing of it was running. Your browser asked for the page, the request \
waited for a moment, and meanwhile a process was started, loaded Django, connected to the database and took the \
request from the queue.

Had a hundred people come at the same moment, all of them would have waited in that queue, and all of them would have \
been served. Nobody is turned away because a site sleeps.

Open another page now: that one is quick, because the process is still there. When nobody comes for some minutes, it \
leaves, and its memory goes to sites that have visitors."""

FILES = """\
The style sheet of this page never reached Python. The site file says that addresses below /static/ are files in a \
folder, and the server in front sends those by itself:

[static]
"/static/" = "static-root"

It does so while the blog sleeps, while it is being replaced by a newer version, and while all its processes are busy \
with pages that take longer.

What Django needs for it is one command after each change: python manage.py collectstatic"""

FIRST_STEPS = """\
This is an ordinary Django project. The posts, and this one too, are rows in its database, and you can write the next \
one: go to /admin/ and log in as admin.

The password was drawn at random when the database was made. It is in the file admin-password.txt, in the folder that \
the server gave this site for its data. The site's log says where that is. Change the password once you are in, and \
delete the file.

Then leave a comment below, and hide it again in the admin."""

# Oldest first: the slug, the title, the summary, the text, the age in days.
SAMPLE_POSTS = (
    (
        "a-site-that-sleeps",
        "A site that sleeps",
        "What happens between your click and this page, when nothing was running before.",
        WAKING,
        9,
    ),
    (
        "files-without-python",
        "Files without Python",
        "Style sheets and pictures take another way than pages, and a shorter one.",
        FILES,
        4,
    ),
    (
        "first-steps",
        "First steps",
        "Where the password of the admin is, and what to try next.",
        FIRST_STEPS,
        0,
    ),
)


class Command(BaseCommand):
    help = "Makes the database with its tables, three sample posts and a user, unless there is one already."

    def handle(self, *args: Any, **options: Any) -> None:
        with state.locked():
            if not state.is_database_missing():
                return  # another worker was faster
            # Made elsewhere and moved into place: a database is there completely or not at all, however this ends.
            with TemporaryDirectory(prefix="unfinished-", dir=state.FOLDER) as folder:
                unfinished = Path(folder) / state.DATABASE.name
                connection.close()
                connection.settings_dict["NAME"] = unfinished
                try:
                    call_command("migrate", interactive=False, verbosity=0)
                    write_sample_posts()
                    make_admin()
                finally:
                    connection.close()
                    connection.settings_dict["NAME"] = state.DATABASE
                unfinished.replace(state.DATABASE)


def write_sample_posts() -> None:
    now = timezone.now()
    for slug, title, summary, text, age in SAMPLE_POSTS:
        post = Post(slug=slug, title=title, summary=summary, text=text, published=now - timedelta(days=age))
        post.save()
    Comment(post=post, name="A reader", text="It works! Now for a post of my own.", written=now).save()


def make_admin() -> None:
    """A user who may do everything. A password that all copies of this example share would be none."""
    password = secrets.token_urlsafe(12)
    path = state.write_secret("admin-password.txt", password + "\n")
    get_user_model().objects.create_superuser("admin", password=password)
    print(f"made the database, with a user admin, whose password is in {path}", file=sys.stderr)
