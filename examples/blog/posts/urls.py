from django.urls import path
from django.views.decorators.cache import cache_control
from django.views.generic import TemplateView

from . import feeds, views

# These are the same for everybody: caches may keep them for so many seconds. The post pages are not, for their form
# carries a token against forgery that is made for one visitor.
for_everybody = cache_control(public=True, max_age=300)

urlpatterns = [
    path("", views.PostList.as_view(), name="index"),
    path("posts/<slug:slug>/", views.show_post, name="post"),
    path("about/", for_everybody(TemplateView.as_view(template_name="posts/about.html")), name="about"),
    path("feed/", for_everybody(feeds.LatestPosts()), name="feed"),
]
