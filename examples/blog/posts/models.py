"""Posts, and the comments of their readers."""

from __future__ import annotations

from django.db import models
from django.urls import reverse
from django.utils import timezone


class PostQuerySet(models.QuerySet["Post"]):
    def published(self) -> PostQuerySet:
        """What everybody may read by now."""
        return self.filter(published__lte=timezone.now())


class Post(models.Model):
    title = models.CharField(max_length=120)
    slug = models.SlugField(max_length=120, unique=True, help_text="The post's name in its address.")
    summary = models.CharField(max_length=250, help_text="One or two sentences, for the list and the feed.")
    text = models.TextField(help_text="An empty line begins a new paragraph. Addresses become links.")
    published = models.DateTimeField(
        null=True, blank=True, db_index=True, help_text="Empty: a draft. In the future: shown from then on."
    )

    objects = PostQuerySet.as_manager()

    class Meta:
        ordering = ["-published", "-id"]

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("post", args=[self.slug])


class CommentQuerySet(models.QuerySet["Comment"]):
    def shown(self) -> CommentQuerySet:
        return self.filter(is_hidden=False)


class Comment(models.Model):
    post = models.ForeignKey(Post, on_delete=models.CASCADE, related_name="comments")
    name = models.CharField("your name", max_length=60)
    text = models.TextField("your comment", max_length=2000)
    written = models.DateTimeField(default=timezone.now, editable=False)
    is_hidden = models.BooleanField("hidden", default=False)

    objects = CommentQuerySet.as_manager()

    class Meta:
        ordering = ["written", "id"]

    def __str__(self) -> str:
        return f"{self.name}: {self.text[:60]}"

    def get_absolute_url(self) -> str:
        return f"{self.post.get_absolute_url()}#comment-{self.pk}"
