"""The posts and comments in the admin."""

from __future__ import annotations

from django.contrib import admin

from .models import Comment, Post


class CommentInline(admin.TabularInline):
    model = Comment
    extra = 0


@admin.register(Post)
class PostAdmin(admin.ModelAdmin):
    list_display = ["title", "published"]
    list_filter = ["published"]
    search_fields = ["title", "summary", "text"]
    prepopulated_fields = {"slug": ["title"]}
    inlines = [CommentInline]


@admin.register(Comment)
class CommentAdmin(admin.ModelAdmin):
    list_display = ["name", "text", "post", "written", "is_hidden"]
    list_editable = ["is_hidden"]
    list_filter = ["is_hidden", "written"]
    list_select_related = ["post"]
    search_fields = ["name", "text"]
