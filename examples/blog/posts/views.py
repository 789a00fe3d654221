"""The blog's pages."""

from __future__ import annotations

from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods
from django.views.generic import ListView

from .forms import CommentForm
from .models import Comment, Post, PostQuerySet


class PostList(ListView):
    """The published posts, newest first."""

    template_name = "posts/index.html"
    context_object_name = "posts"
    paginate_by = 10

    def get_queryset(self) -> PostQuerySet:
        shown = Count("comments", filter=Q(comments__is_hidden=False))
        return Post.objects.published().annotate(comment_count=shown).order_by("-published", "-id")


@require_http_methods(["GET", "HEAD", "POST"])
def show_post(request: HttpRequest, slug: str) -> HttpResponse:
    """One post with its comments and a form for another; a POST is such a comment."""
    post = get_object_or_404(Post.objects.published(), slug=slug)
    form = CommentForm(request.POST or None, instance=Comment(post=post))
    if request.method == "POST" and form.is_valid():
        # Redirected, the browser shows the page by a GET, and reloading it does not send the comment again.
        return redirect(form.save())
    status = 422 if form.is_bound else 200
    return render(request, "posts/post.html", {"post": post, "form": form}, status=status)
