"""Which path goes where."""

from django.contrib import admin
from django.urls import include, path

admin.site.site_header = admin.site.site_title = "Blog"

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("posts.urls")),
]
