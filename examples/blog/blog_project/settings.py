"""Settings of the blog; what each means: https://docs.djangoproject.com/en/5.2/ref/settings/"""

from __future__ import annotations

from django.core.management.utils import get_random_secret_key

from . import state

BASE_DIR = state.BASE_DIR

# Drawn once and kept: with another key everybody would be logged out. Never write one into the code.
SECRET_KEY = state.read_secret("secret-key.txt", get_random_secret_key)
DEBUG = False
# Names that the blog answers to. With a domain of your own, add it here and in the site file.
ALLOWED_HOSTS = [".localhost", "127.0.0.1", "[::1]"]

INSTALLED_APPS = [
    "posts",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "blog_project.urls"
WSGI_APPLICATION = "blog_project.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": state.DATABASE,
        # Several workers share the file. One that wants to write waits for the others instead of failing, and says at
        # the beginning of a transaction that it will write: two that both want to later could only give up.
        "OPTIONS": {"timeout": 10, "transaction_mode": "IMMEDIATE"},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

# "python manage.py collectstatic" gathers style sheets and pictures, the admin's too, in static-root. The site file
# maps /static/ to that folder, so they are served without Django.
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "static-root"
# There are no uploads yet; a model with a FileField would find its place here.
MEDIA_ROOT = state.FOLDER / "media"

# Without this, Django would write the traceback of an error nowhere when DEBUG is off. Here it goes to the site's log.
# A page that is not found is no error of ours, and stands in the access log anyway.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "loggers": {
        "django": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
        "django.request": {"level": "ERROR"},
    },
}
