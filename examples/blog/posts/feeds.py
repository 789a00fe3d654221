from __future__ import annotations

from datetime import datetime

from django.contrib.syndication.views import Feed
from django.urls import reverse_lazy

from .models import Post, PostQuerySet


class LatestPosts(Feed):
    """The newest posts as RSS."""

    title = "Blog"
    description = "New posts"
    link = reverse_lazy("index")

    def items(self) -> PostQuerySet:
        return Post.objects.published()[:10]

    def item_title(self, item: Post) -> str:
        return item.title

    def item_description(self, item: Post) -> str:
        return item.summary

    def item_pubdate(self, item: Post) -> datetime | None:
        return item.published
