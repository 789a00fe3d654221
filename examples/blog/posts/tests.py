"""Tests of the blog: python manage.py test"""

# ruff: noqa: PT009 - Django's test runner shows what differs for these methods, and for a bare assert it does not.

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from django.conf import settings
from django.contrib.auth import get_user_model
from django.test import Client, SimpleTestCase, TestCase
from django.utils import timezone

from .models import Comment, Post


def make_post(slug: str, age_in_days: float | None = 1, **fields: str) -> Post:
    published = None if age_in_days is None else timezone.now() - timedelta(days=age_in_days)
    values = {"title": f"Title of {slug}", "summary": "In short", "text": "At length", **fields}
    return Post.objects.create(slug=slug, published=published, **values)


class ReadingTests(TestCase):
    def test_list_shows_published_posts_newest_first(self) -> None:
        make_post("older", 5)
        make_post("newer", 2)
        make_post("draft", None)
        make_post("tomorrow", -1)
        response = self.client.get("/")
        self.assertEqual([post.slug for post in response.context["posts"]], ["newer", "older"])

    def test_list_has_pages(self) -> None:
        for number in range(11):
            make_post(f"post-{number}", number)
        self.assertContains(self.client.get("/"), "?page=2")
        self.assertContains(self.client.get("/?page=2"), "Title of post-10")

    def test_post_page_escapes_what_it_shows(self) -> None:
        make_post("first", text="<script>alert(1)</script>")
        response = self.client.get("/posts/first/")
        self.assertContains(response, "&lt;script&gt;alert(1)")
        self.assertNotContains(response, "<script>alert(1)")

    def test_draft_is_not_found(self) -> None:
        make_post("draft", None)
        self.assertContains(self.client.get("/posts/draft/"), "Nothing here", status_code=404)

    def test_feed_and_about_may_be_cached(self) -> None:
        make_post("first")
        feed = self.client.get("/feed/")
        self.assertContains(feed, "<link>http://testserver/posts/first/</link>")
        for response in (feed, self.client.get("/about/")):
            self.assertIn("max-age=300", response["Cache-Control"])
            self.assertFalse(response.cookies)


class CommentTests(TestCase):
    def setUp(self) -> None:
        self.post = make_post("first")

    def test_comment_is_kept_and_shown(self) -> None:
        response = self.client.post("/posts/first/", {"name": "Ada", "text": "Well said."}, follow=True)
        comment = Comment.objects.get()
        self.assertRedirects(response, f"/posts/first/#comment-{comment.pk}")
        self.assertContains(response, "Well said.")
        self.assertContains(self.client.get("/"), "1 comment")

    def test_hidden_comment_is_not_shown(self) -> None:
        Comment.objects.create(post=self.post, name="Eve", text="Buy this", is_hidden=True)
        self.assertNotContains(self.client.get("/posts/first/"), "Buy this")
        self.assertNotContains(self.client.get("/"), "1 comment")

    def test_incomplete_comment_is_refused_with_a_reason(self) -> None:
        response = self.client.post("/posts/first/", {"name": "Ada", "text": ""})
        self.assertContains(response, "This field is required.", status_code=422)
        self.assertFalse(Comment.objects.exists())

    def test_comment_without_token_is_refused(self) -> None:
        client = Client(enforce_csrf_checks=True)
        with self.assertLogs("django.security.csrf", "WARNING"):
            response = client.post("/posts/first/", {"name": "Eve", "text": "From another site"})
        self.assertEqual(response.status_code, 403)
        self.assertFalse(Comment.objects.exists())


class AdminTests(TestCase):
    def test_admin_shows_posts_and_comments(self) -> None:
        post = make_post("first")
        Comment.objects.create(post=post, name="Ada", text="Well said.")
        self.client.force_login(get_user_model().objects.create_superuser("somebody"))
        self.assertContains(self.client.get("/admin/posts/post/"), "Title of first")
        self.assertContains(self.client.get(f"/admin/posts/post/{post.pk}/change/"), "Well said.")
        self.assertContains(self.client.get("/admin/posts/comment/"), "Well said.")


class FirstStartTests(SimpleTestCase):
    def test_workers_that_start_together_make_one_database(self) -> None:
        with TemporaryDirectory() as folder:
            command = [sys.executable, "-c", "import blog_project.wsgi"]
            environment = {**os.environ, "STATE_DIRECTORY": folder}
            workers = [
                subprocess.Popen(command, cwd=settings.BASE_DIR, env=environment, stderr=subprocess.PIPE)
                for _ in range(3)
            ]
            said = [worker.communicate(timeout=60)[1] for worker in workers]
            self.assertEqual([worker.returncode for worker in workers], [0, 0, 0], said)
            self.assertEqual(len([text for text in said if b"made the database" in text]), 1)
            with closing(sqlite3.connect(Path(folder, "db.sqlite3"))) as database:
                self.assertEqual(database.execute("SELECT count(*) FROM posts_post").fetchone(), (3,))
                self.assertEqual(database.execute("SELECT username FROM auth_user").fetchall(), [("admin",)])
            names = {"db.sqlite3", "lock", "secret-key.txt", "admin-password.txt"}
            self.assertEqual(set(os.listdir(folder)), names)
            for name in ("secret-key.txt", "admin-password.txt"):
                self.assertEqual(Path(folder, name).stat().st_mode & 0o777, 0o600)
