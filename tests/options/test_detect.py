"""What kind of project a folder is: small projects of every kind, and hostile ones."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hostel.errors import UsageError
from hostel.options import reading
from hostel.options.detect import Detected, detect, is_project
from hostel.options.detect_django import MAPPINGS
from hostel.options.site import Site, make_site

Write = Callable[..., Path]

IMPORT = "from flask import Flask\n"
FLASK = "from flask import Flask\napp = Flask(__name__)\n"
FASTAPI = "from fastapi import FastAPI\napp = FastAPI()\n"


@pytest.fixture(name="write")
def fixture_write(tmp_path: Path) -> Write:
    """Writes files of a project, given as path and text, and returns the project's folder."""
    folder = tmp_path / "project"
    folder.mkdir()

    def write(files: dict[str, str | bytes]) -> Path:
        for name, content in files.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return folder

    return write


def look(path: Path) -> Detected:
    """What is detected, after its options were found to make a site."""
    found = detect(str(path))
    site, problems = make_site("demo", f"{path}/demo.toml", str(path), found.options)
    assert problems == []
    assert isinstance(site, Site)
    assert os.path.isabs(found.options["directory"])
    assert all(os.path.isabs(target) for target in found.options.get("static", {}).values())
    assert "interface" not in found.options
    return found


def app_of(folder: Path) -> tuple[str, str]:
    found = look(folder)
    return found.kind, found.options["app"]


# Flask, FastAPI and others: where the application is


@pytest.mark.parametrize(
    ("text", "kind", "app"),
    [
        (FLASK, "flask", "app:app"),
        ("import flask\nsite = flask.Flask('x')\n", "flask", "app:site"),
        ("import flask as f\napi: f.Flask = f.Flask(__name__)\n", "flask", "app:api"),
        ("from flask import Flask as F\nx = F('x')\napplication = app = F(__name__)", "flask", "app:application"),
        ("try:\n    from flask import Flask\nexcept ImportError:\n    Flask = 0\napp = Flask('x')", "flask", "app:app"),
        (IMPORT + "class Mine(Flask):\n    pass\napp = Mine(__name__)", "flask", "app:app"),
        (FLASK + "app.wsgi_app = Proxy(app.wsgi_app)\nfrom x import ProxyFix\napp = ProxyFix(app)", "flask", "app:app"),
        (FLASK + "if __name__ == '__main__':\n    import y\n    application = y.Other()", "flask", "app:app"),
        (IMPORT + "def create_app(config=None):\n    return Flask(__name__)", "flask", "app:create_app()"),
        (IMPORT + "def make_app(*, a=1, **k):\n    x = Flask(__name__)\n    return x", "flask", "app:make_app()"),
        (IMPORT + "def create_app():\n  return Flask('a')\napp = create_app()", "flask", "app:app"),
        ("import dash\napp = dash.Dash(__name__)\nserver = app.server", "flask", "app:server"),
        ("from dash import Dash\napp = Dash(__name__)", "flask", "app:app.server"),
        (FASTAPI, "fastapi", "app:app"),
        ("import fastapi\nif True:\n  api = fastapi.FastAPI(title='x')", "fastapi", "app:api"),
        ("from fastapi import FastAPI\ndef create_app() -> FastAPI:\n    app = FastAPI()\n    return app", "fastapi",
         "app:create_app()"),
        ("from starlette.applications import Starlette\napp = Starlette(routes=[])", "starlette", "app:app"),
        ("from quart import Quart\napp = Quart(__name__)", "asgi", "app:app"),
        ("from litestar import Litestar\napp = Litestar([])", "asgi", "app:app"),
        ("from sanic import Sanic\napp = Sanic('x')", "asgi", "app:app"),
        ("import falcon.asgi\napp = falcon.asgi.App()", "asgi", "app:app"),
        ("from falcon import asgi\napp = asgi.App()", "asgi", "app:app"),
        ("import falcon\napp = falcon.App()", "wsgi", "app:app"),
        ("import falcon\napi = falcon.API()", "wsgi", "app:api"),
        ("import bottle\nbottle_app = bottle.Bottle()", "wsgi", "app:bottle_app"),
        ("def application(environ, start_response):\n    return []", "wsgi", "app:application"),
        ("def hello(environ, start_response):\n    return []", "wsgi", "app:hello"),
        ("async def app(scope, receive, send):\n    pass", "asgi", "app:app"),
        ("class A:\n    async def __call__(self, scope, receive, send):\n        pass\napp = A()", "asgi", "app:app"),
        ("class A:\n    def __call__(self, env, start):\n        pass\napp = A()", "wsgi", "app:app"),
        ("class app:\n  def __init__(self, e, s):\n    pass\n  def __iter__(self):\n    pass", "wsgi", "app:app"),
        ("from elsewhere import make\napp = make()", "wsgi", "app:app"),
        ("from elsewhere import app", "wsgi", "app:app"),
        ("from werkzeug.wrappers import Request\n@Request.application\ndef application(request):\n    pass", "wsgi",
         "app:application"),
        ("import os\nwith open('x') as f:\n    from flask import Flask\n    app = Flask('x')", "flask", "app:app"),
        (FASTAPI + "from a2wsgi import ASGIMiddleware\napp = ASGIMiddleware(app)", "wsgi", "app:app"),
    ],
)  # fmt: skip
def test_module(write: Write, text: str, kind: str, app: str) -> None:
    assert app_of(write({"app.py": text})) == (kind, app)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "app = None",
        "app = 3\napplication = 'text'\n",
        "app = {'a': 1}\napplication = [1]",
        "from flask import current_app as app, Blueprint\napplication = Blueprint('x', __name__)",
        "import typer\napp = typer.Typer()",
        "from celery import Celery\napp = Celery('x')",
        "from aiohttp import web\napp = web.Application()",
        "import click\n@click.group()\ndef app():\n    pass",
        "def app():\n    pass",
        "async def app():\n    pass",
        "def create_app(config):\n    pass",
        "async def create_app():\n    pass",
        "from tornado.web import Application\ndef make_app():\n    return Application([])",
        "if __name__ == '__main__':\n    from flask import Flask\n    app = Flask('x')",
        "class app:\n    name = 'x'",
    ],
)
def test_module_without_application(write: Write, text: str) -> None:
    folder = write({"main.py": text})
    with pytest.raises(
        UsageError, match=r"^cannot tell what .*project is: nothing in it looks like a web application$"
    ):
        detect(str(folder))
    with pytest.raises(UsageError, match=r"^cannot find an application in .*main\.py$"):
        detect(str(folder / "main.py"))
    assert not is_project(str(folder))


def test_order_and_rank(write: Write) -> None:
    bare = "import x\napplication = x.y()\n"
    factory = "from flask import Flask\ndef create_app():\n    return Flask('x')\n"
    assert app_of(write({"wsgi.py": bare})) == ("wsgi", "wsgi:application")
    assert app_of(write({"run.py": factory})) == ("flask", "run:create_app()")
    assert app_of(write({"web.py": FASTAPI})) == ("fastapi", "web:app")
    assert app_of(write({"shop/__init__.py": FLASK})) == ("fastapi", "web:app")
    assert app_of(write({"main.py": FLASK})) == ("flask", "main:app")
    assert app_of(write({"wsgi.py": "from main import app as application"})) == ("flask", "wsgi:application")


@pytest.mark.parametrize(
    ("files", "kind", "app"),
    [
        ({"wsgi.py": "from hello import app as application", "hello.py": FLASK}, "flask", "wsgi:application"),
        ({"passenger_wsgi.py": "import os, sys\nsys.path.insert(0, os.path.dirname(__file__))\n"
          "from site_code import app as application", "site_code.py": FLASK}, "flask", "passenger_wsgi:application"),
        ({"wsgi.py": "from shop import create_app\napp = create_app()",
          "shop/__init__.py": "from flask import Flask\ndef create_app(x=1):\n    app = Flask(__name__)\n"
          "    from . import pages\n    app.register_blueprint(pages.bp)\n    return app"}, "flask", "wsgi:app"),
        ({"wsgi.py": "import shop\napplication = shop.app", "shop/__init__.py": "from .core import *",
          "shop/core.py": FASTAPI}, "fastapi", "wsgi:application"),
        ({"shop/__init__.py": "", "shop/main.py": FASTAPI}, "fastapi", "shop.main:app"),
        ({"shop/__init__.py": "from .factory import create_app", "shop/factory.py":
          "from flask import Flask\ndef create_app():\n    return Flask('x')"}, "flask", "shop:create_app()"),
        ({"shop/__init__.py": "from shop.web.all import app", "shop/web/__init__.py": "", "shop/web/all.py": FLASK},
         "flask", "shop:app"),
        ({"wsgi.py": "from a import app", "a.py": "from wsgi import app"}, "wsgi", "wsgi:app"),
        ({"wsgi.py": "from app import app", "app/__init__.py": "", "app/app.py": "",
          "run.py": FLASK}, "flask", "run:app"),
        ({"asgi.py": "from elsewhere import app"}, "asgi", "asgi:app"),
        ({"app.py": "from . import x\nfrom ...y import *\n" + FLASK}, "flask", "app:app"),
    ],
)  # fmt: skip
def test_imports_are_followed(write: Write, files: dict[str, str | bytes], kind: str, app: str) -> None:
    assert app_of(write(files)) == (kind, app)


def test_source_folder(write: Write) -> None:
    folder = write(
        {"src/shop/__init__.py": "", "src/shop/wsgi.py": FLASK, "src/shop/static/a.css": "", "pyproject.toml": ""}
    )
    found = look(folder)
    assert (found.kind, found.options["app"]) == ("flask", "shop.wsgi:app")
    assert found.options["directory"] == str(folder / "src")
    assert found.options["static"] == {"/static/": str(folder / "src/shop/static")}


def test_source_folder_that_is_a_package(write: Write) -> None:
    found = look(write({"src/__init__.py": "", "src/main.py": FASTAPI}))
    assert found.options["app"] == "src.main:app"


def test_several_packages(write: Write) -> None:
    folder = write({"one/__init__.py": FLASK, "two/__init__.py": "", "two/app.py": FLASK})
    with pytest.raises(UsageError, match=r"^cannot choose an application in .*: there are several$") as caught:
        detect(str(folder))
    assert str(folder / "two/app.py") in caught.value.hint
    assert app_of(folder / "two/app.py") == ("flask", "two.app:app")
    assert app_of(write({"two/app.py": "from one import app"})) == ("flask", "one:app")
    assert app_of(write({"project/__init__.py": "", "project/main.py": FLASK})) == ("flask", "project.main:app")


def test_module_of_any_name(write: Write) -> None:
    factory = "from flask import Flask\ndef create_app():\n    return Flask('x')\n"
    folder = write(
        {"chat.py": FASTAPI, "index.html": "", "cli.py": "app = make()", "setup.py": FLASK, "test_x.py": FLASK}
    )
    assert app_of(folder) == ("fastapi", "chat:app")
    write({"again.py": "from chat import app", "news.py": factory})
    assert app_of(folder) == ("fastapi", "again:app")
    write({"other.py": FLASK})
    with pytest.raises(UsageError, match=r": there are several$"):
        detect(str(folder))
    write({"project.py": FLASK})
    assert app_of(folder) == ("flask", "project:app")
    write({"web.py": factory})
    assert app_of(folder) == ("flask", "web:create_app()")


def test_several_packages_with_one_factory(write: Write) -> None:
    factory = "from flask import Flask\ndef create_app():\n    return Flask('x')\n"
    folder = write(
        {"core/__init__.py": "", "core/app.py": factory, "web/__init__.py": "from core.app import create_app"}
    )
    assert app_of(folder) == ("flask", "core.app:create_app()")
    write({"web/__init__.py": factory})
    assert not is_project(str(folder))


def test_given_file(write: Write) -> None:
    folder = write(
        {"a/__init__.py": "", "a/b/__init__.py": FLASK, "a/b/page.py": FASTAPI, "alone.py": FASTAPI, "my-app.py": ""}
    )
    found = look(folder / "a/b/page.py")
    assert (found.options["app"], found.options["directory"]) == ("a.b.page:app", str(folder))
    assert look(folder / "a/b/__init__.py").options["app"] == "a.b:app"
    assert look(folder / "alone.py").options == {"app": "alone:app", "directory": str(folder)}
    with pytest.raises(UsageError, match=r"^cannot import .*my-app\.py: 'my-app' is no name of a module$"):
        detect(str(folder / "my-app.py"))


def test_relative_path(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write({"app.py": FLASK}))
    assert detect(".").options["directory"] == os.getcwd()
    assert detect("app.py").options["app"] == "app:app"


# Static files of Flask, FastAPI and Starlette


@pytest.mark.parametrize(
    ("text", "static"),
    [
        ("app = Flask(__name__)", {"/static/": "static"}),
        ("app = Flask(__name__, static_url_path='/s')", {"/s/": "static"}),
        ("app = Flask(__name__, static_folder='assets')", {"/assets/": "assets"}),
        ("app = Flask(__name__, '/a/b/', os.path.join(HERE, 'assets'))", {"/a/b/": "assets"}),
        ("app = Flask(__name__, static_folder=None)", None),
        ("app = Flask(__name__, static_folder='missing')", None),
        ("app = Flask(__name__, static_folder='.', static_url_path='/x')", None),
        ("app = Flask(__name__, static_folder='static', static_url_path='')", None),
        ("app = Flask(__name__, static_folder=unknown())", None),
        ("app = Flask(__name__, **options)", None),
        ("def create_app():\n    return Flask('other')", {"/static/": "static"}),
        ("app = Wrapper(Flask(__name__))", {"/static/": "static"}),
    ],
)
def test_flask_static(write: Write, text: str, static: dict[str, str] | None) -> None:
    head = "import os\nfrom flask import Flask\nHERE = os.path.abspath(os.path.dirname(__file__))\n"
    folder = write({"app.py": head + text, "static/a.css": "", "assets/b.css": ""})
    expected = static and {url: str(folder / name) for url, name in static.items()}
    assert look(folder).options.get("static") == expected


@pytest.mark.parametrize(
    ("text", "static"),
    [
        ("app = FastAPI()\napp.mount('/static', StaticFiles(directory='static'), name='s')", {"/static/": "static"}),
        ("app = FastAPI()\napp.mount('/f/', app=StaticFiles(directory=HERE / 'assets'))", {"/f/": "assets"}),
        ("app = FastAPI()\nif unknown:\n    app.mount('/s', StaticFiles(directory='static'))", {"/s/": "static"}),
        ("app = FastAPI()\napp.mount('/', StaticFiles(directory='static', html=True))", None),
        ("app = FastAPI()\napp.mount('/', StaticFiles(directory='static'))", None),
        ("app = FastAPI()\napp.mount('/s', StaticFiles(directory='static', html=True))", None),
        ("app = FastAPI()\napp.mount('/s', StaticFiles(packages=['x']))", None),
        ("app = FastAPI()\napp.mount('/s', StaticFiles(directory='missing'))", None),
        ("app = FastAPI()\napp.mount('/s', StaticFiles(directory='.'))", None),
        ("app = FastAPI()\napp.mount(unknown, StaticFiles(directory='static'))", None),
        ("app, other = FastAPI(), FastAPI()\nother.mount('/s', StaticFiles(directory='static'))", None),
        ("def create_app():\n    a = FastAPI()\n    a.mount('/s', StaticFiles(directory='static'))\n    return a",
         {"/s/": "static"}),
        ("r = [Mount('/s', StaticFiles(directory='static'))]\napp = Starlette(routes=r)", {"/s/": "static"}),
        ("app = Starlette(routes=[Mount('/s', app=StaticFiles(directory='static'))])", {"/s/": "static"}),
    ],
)  # fmt: skip
def test_mounted_static(write: Write, text: str, static: dict[str, str] | None) -> None:
    head = (
        "from fastapi import FastAPI\nfrom starlette.applications import Starlette\n"
        "from starlette.routing import Mount\n"
        "from starlette.staticfiles import StaticFiles\nfrom pathlib import Path\nHERE = Path(__file__).parent\n"
    )
    folder = write({"main.py": head + text, "static/a.css": "", "assets/b.css": ""})
    expected = static and {url: str(folder / name) for url, name in static.items()}
    assert look(folder).options.get("static") == expected


# Environments


def make_environment(folder: Path, *packages: str) -> Path:
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/python").write_text("")
    (folder / "pyvenv.cfg").write_text("")
    for package in packages or ("x",):
        (folder / "lib/python3.11/site-packages" / package).mkdir(parents=True)
    return folder


def test_environment(write: Write) -> None:
    folder = write({"app.py": FLASK, ".venv/pyvenv.cfg": ""})
    assert "environment" not in look(folder).options
    assert any(".venv has no Python" in note for note in look(folder).notes)
    make_environment(folder / "env", "flask")
    assert look(folder).options["environment"] == str(folder / "env")
    make_environment(folder / "venv")
    (folder / "venv/lib64").symlink_to("lib")
    found = look(folder)
    assert found.options["environment"] == str(folder / "venv")
    assert any("flask is not installed" in note for note in found.notes)
    (folder / "venv/pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = true\n")
    assert not any("flask is not installed" in note for note in look(folder).notes)


# Django


def start_project(folder: Path, name: str = "mysite", *more: str) -> Path:
    folder.mkdir(exist_ok=True)
    subprocess.run([sys.executable, "-m", "django", "startproject", name, str(folder), *more], check=True, timeout=60)
    return folder


def append(file: Path, text: str) -> None:
    file.write_text(file.read_text() + text)


def test_django_start_project(tmp_path: Path) -> None:
    folder = start_project(tmp_path / "site")
    found = look(folder)
    assert found.kind == "django"
    library = Path(sysconfig.get_path("purelib"))
    assert found.options == {
        "app": "mysite.wsgi:application",
        "directory": str(folder),
        "static": {"/static/admin": str(library / "django/contrib/admin/static/admin")},
    }
    assert any("STATIC_ROOT is not set" in note and "collectstatic" in note for note in found.notes)
    assert any("DEBUG is on in mysite.settings" in note for note in found.notes)
    assert is_project(str(folder))


def test_django_collected_static_and_media(tmp_path: Path) -> None:
    folder = start_project(tmp_path / "site")
    settings = folder / "mysite/settings.py"
    append(settings, "STATIC_ROOT = BASE_DIR / 'collected'\nMEDIA_URL = 'media/'\nMEDIA_ROOT = BASE_DIR / 'media'\n")
    found = look(folder)
    assert set(found.options["static"]) == {"/static/admin", "/media/"}
    assert f"STATIC_ROOT {folder}/collected does not exist yet" in " ".join(found.notes)
    (folder / "collected").mkdir()
    assert f"STATIC_ROOT {folder}/collected is empty" in " ".join(look(folder).notes)
    (folder / "collected/a.css").write_text("")
    assert look(folder).options["static"] == {
        "/static/": str(folder / "collected"),
        "/media/": str(folder / "media"),
    }
    append(settings, "STATIC_URL = 'https://cdn.example.com/'\nMEDIA_ROOT = '/nowhere/at/all'\n")
    assert "static" not in look(folder).options
    append(settings, "STATIC_URL = '/s/'\nSTATIC_ROOT = BASE_DIR\nMEDIA_ROOT = str(BASE_DIR.parent)\n")
    found = look(folder)
    assert set(found.options["static"]) == {"/s/admin"}
    assert sum("holds the project's own code" in note for note in found.notes) == 2


def test_django_through_a_link(tmp_path: Path) -> None:
    folder = start_project(tmp_path / "release")
    append(folder / "mysite/settings.py", "import os\nSTATIC_ROOT = os.path.join(BASE_DIR, 'collected')\n")
    (folder / "collected").mkdir()
    (folder / "collected/a.css").write_text("")
    (tmp_path / "current").symlink_to("release")
    found = look(tmp_path / "current")
    assert found.options["static"] == {"/static/": str(tmp_path / "current/collected")}
    assert found.options["directory"] == str(tmp_path / "current")


def test_django_app_static(tmp_path: Path) -> None:
    folder = start_project(tmp_path / "site")
    make_environment(
        folder / ".venv", "django/contrib/admin/static/admin/css", "other/static/other", "other/static/blog"
    )
    (folder / ".venv/lib/python3.11/site-packages/django/contrib/admin/static/admin/css/base.css").write_text("")
    files = [
        "blog/static/blog/a.css", "blog/static/robots.css", "blog/static/.hidden", "assets/robots.css",
        "assets/admin/css/mine.css", "brand/logo.svg", "apps/shop/static/shop/b.css", "other_place.txt",
    ]  # fmt: skip
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    append(
        folder / "mysite/settings.py",
        "import os, sys\nsys.path.insert(0, os.path.join(BASE_DIR, 'apps'))\n"
        "LOCAL = ('blog.apps.BlogConfig',)\n"
        "INSTALLED_APPS = INSTALLED_APPS + [*LOCAL, f'{\"ot\"}her', undefined_name]\n"
        "INSTALLED_APPS += ['shop', 'missing']\n"
        "STATICFILES_DIRS = [BASE_DIR / 'assets', ('brand', str(BASE_DIR / 'brand')), '/nowhere', BASE_DIR]\n",
    )
    found = look(folder)
    admin = folder / ".venv/lib/python3.11/site-packages/django/contrib/admin/static/admin"
    assert found.options["environment"] == str(folder / ".venv")
    assert found.options["static"] == {
        "/static/robots.css": str(folder / "assets/robots.css"),
        "/static/admin": str(folder / "assets/admin"),
        "/static/admin/css/base.css": str(admin / "css/base.css"),
        "/static/brand/logo.svg": str(folder / "brand/logo.svg"),
        "/static/blog": str(folder / "blog/static/blog"),
        "/static/other": str(folder / ".venv/lib/python3.11/site-packages/other/static/other"),
        "/static/shop": str(folder / "apps/shop/static/shop"),
    }
    assert any("STATICFILES_DIRS, holds the project's own code" in note for note in found.notes)


def test_django_many_static_files(tmp_path: Path) -> None:
    folder = start_project(tmp_path / "site")
    (folder / "assets").mkdir()
    for number in range(MAPPINGS + 50):
        (folder / f"assets/{number}.css").write_text("")
    (folder / "assets/bad\nname").write_text("")
    append(folder / "mysite/settings.py", "STATICFILES_DIRS = [BASE_DIR / 'assets']\n")
    found = look(folder)
    assert len(found.options["static"]) == MAPPINGS
    assert any("more static files than" in note for note in found.notes)


MANAGE = "import os\nif __name__ == '__main__':\n    os.environ.setdefault('DJANGO_SETTINGS_MODULE', '{}')\n"
WSGI = "import os\nfrom django.core.wsgi import get_wsgi_application\n{}\napplication = get_wsgi_application()\n"
SETS = "os.environ.setdefault('DJANGO_SETTINGS_MODULE', '{}')"


def wagtail(base_import: str = "from .base import *") -> dict[str, str | bytes]:
    """The layout of ``wagtail start``: development settings in manage.py, production settings in wsgi.py."""
    return {
        "manage.py": MANAGE.format("mysite.settings.dev"),
        "mysite/__init__.py": "",
        "mysite/wsgi.py": WSGI.format(SETS.format("mysite.settings.production")),
        "mysite/settings/__init__.py": "",
        "mysite/settings/base.py": (
            "import os\nPROJECT_DIR = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))\n"
            "BASE_DIR = os.path.dirname(PROJECT_DIR)\nINSTALLED_APPS = ['home', 'django.contrib.admin']\n"
            "WSGI_APPLICATION = 'mysite.wsgi.application'\n"
            "STATICFILES_DIRS = [\n    os.path.join(PROJECT_DIR, 'static'),\n]\n"
            "STATIC_ROOT = os.path.join(BASE_DIR, 'static')\nSTATIC_URL = '/static/'\n"
            "MEDIA_ROOT = os.path.join(BASE_DIR, 'media')\nMEDIA_URL = '/media/'\n"
        ),
        "mysite/settings/dev.py": f"{base_import}\nDEBUG = True\nSTATIC_ROOT = None\n",
        "mysite/settings/production.py": (
            f"{base_import}\nDEBUG = False\nINSTALLED_APPS.append('shop')\n"
            "try:\n    from .local import *\nexcept ImportError:\n    pass\n"
        ),
        "mysite/static/css/mysite.css": "",
        "home/static/home.css": "",
        "shop/static/shop.css": "",
    }


@pytest.mark.parametrize("base_import", ["from .base import *", "from mysite.settings.base import *"])
def test_wagtail_layout(write: Write, base_import: str) -> None:
    folder = write(wagtail(base_import))
    found = look(folder)
    assert found.options["app"] == "mysite.wsgi:application"
    assert "env" not in found.options
    static = found.options["static"]
    assert static["/static/css"] == str(folder / "mysite/static/css")
    assert static["/static/home.css"] == str(folder / "home/static/home.css")
    assert static["/static/shop.css"] == str(folder / "shop/static/shop.css")
    assert static["/media/"] == str(folder / "media")
    assert not any("DEBUG" in note for note in found.notes)
    assert any("does not exist yet" in note for note in found.notes)
    write({"static/css/mysite.css": ""})
    assert look(folder).options["static"] == {"/static/": str(folder / "static"), "/media/": str(folder / "media")}
    write({"mysite/settings/local.py": "STATIC_URL = 'https://cdn/'\nfrom .production import *\nMEDIA_URL = ''"})
    assert "static" not in look(folder).options


def test_django_without_settings_in_wsgi(write: Write) -> None:
    folder = write({
        "manage.py": MANAGE.format("config.settings.local"),
        "config/settings/local.py": "from . import base\nSTATIC_URL = base.URL\nINSTALLED_APPS = base.APPS + ['x']",
        "config/settings/base.py": "URL = 'files/'\nAPPS = ['shop']",
        "config/wsgi.py": WSGI.format(""),
        "shop/static/a/b.css": "",
    })  # fmt: skip
    assert look(folder).options == {
        "app": "config.wsgi:application",
        "directory": str(folder),
        "env": {"DJANGO_SETTINGS_MODULE": "config.settings.local"},
        "static": {"/files/a": str(folder / "shop/static/a")},
    }


PRODUCTION = {"DJANGO_SETTINGS_MODULE": "mysite.settings.production"}


def two_settings(wsgi: str) -> dict[str, str | bytes]:
    """A project whose ``manage.py`` names settings for development, and which has others."""
    return {
        "manage.py": MANAGE.format("mysite.settings.dev"),
        "mysite/__init__.py": "",
        "mysite/wsgi.py": WSGI.format(wsgi),
        "mysite/settings/dev.py": "DEBUG = True\nSTATIC_URL = '/dev/'\nINSTALLED_APPS = ['shop']",
        "mysite/settings/production.py": (
            "import os\nSTATIC_URL = '/files/'\nINSTALLED_APPS = ['shop']\nMEDIA_URL = '/media/'\n"
            "MEDIA_ROOT = os.environ.get('MEDIA')\nSTATIC_ROOT = os.environ['STATIC']"
        ),
        "shop/static/a/b.css": "",
        "collected/a/b.css": "",
    }


@pytest.mark.parametrize("wsgi", ["", SETS.format("mysite.settings.dev")], ids=["unset", "setdefault"])
@pytest.mark.parametrize("has_manage", [True, False])
def test_django_settings_that_are_given(write: Write, wsgi: str, has_manage: bool) -> None:
    folder = write(two_settings(wsgi))
    if not has_manage:
        (folder / "manage.py").unlink()
    variables = {**PRODUCTION, "STATIC": f"{folder}/collected", "MEDIA": f"{folder}/uploads"}
    found = detect(str(folder), variables)
    assert found.kind == "django"
    assert found.options["static"] == {"/files/": f"{folder}/collected", "/media/": f"{folder}/uploads"}
    assert found.options.get("env", PRODUCTION) == PRODUCTION
    assert not any("DEBUG" in note or "DJANGO_SETTINGS_MODULE" in note for note in found.notes)
    assert detect(str(folder / "mysite/wsgi.py"), variables).options["static"] == found.options["static"]


def test_django_settings_that_are_given_for_nothing(write: Write) -> None:
    """The application's own module has the last word when it runs, so it has it here."""
    folder = write(two_settings("os.environ['DJANGO_SETTINGS_MODULE'] = 'mysite.settings.dev'"))
    found = detect(str(folder), PRODUCTION)
    assert found.options["static"] == {"/dev/a": f"{folder}/shop/static/a"}
    assert any(
        "mysite.wsgi:application sets DJANGO_SETTINGS_MODULE by itself, to mysite.settings.dev" in note
        for note in found.notes
    )


@pytest.mark.parametrize("name", ["mysite.settings.nowhere", "", "no module", "../../etc"])
def test_django_settings_that_are_given_and_are_not_there(write: Write, name: str) -> None:
    folder = write(two_settings(""))
    found = detect(str(folder), {"DJANGO_SETTINGS_MODULE": name})
    assert found.options["app"] == "mysite.wsgi:application"
    assert "static" not in found.options
    assert any("settings module" in note and "could not be read" in note for note in found.notes)


@pytest.mark.parametrize("read", ["environ.Env()('ROOT', default='files')", "decouple.config('ROOT', default='files')"])
def test_a_given_variable_that_a_library_reads_is_not_known(write: Write, read: str) -> None:
    text = f"import environ, decouple\nSTATIC_ROOT = {read}\n"
    folder = write({"manage.py": MANAGE.format("settings"), "settings.py": text, "files/a.css": ""})
    assert look(folder).options["static"] == {"/static/": str(folder / "files")}
    found = detect(str(folder), {"ROOT": "/elsewhere"})
    assert "static" not in found.options
    assert any("STATIC_ROOT cannot be told" in note for note in found.notes)


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("STATIC_ROOT = make(1)", "STATIC_ROOT cannot be told"),
        ("STATIC_ROOT = ''", "STATIC_ROOT is not set"),
        ("STATIC_URL = make(1)", "STATIC_URL cannot be told"),
        ("INSTALLED_APPS = make(1)", "INSTALLED_APPS cannot be told"),
        ("MEDIA_ROOT = 'media'\nMEDIA_URL = make(1)", "MEDIA_URL cannot be told"),
    ],
)
def test_django_settings_that_are_made(write: Write, text: str, note: str) -> None:
    folder = write({"manage.py": MANAGE.format("settings"), "settings.py": text, "wsgi.py": WSGI.format("")})
    found = look(folder)
    assert "static" not in found.options
    assert any(note in one for one in found.notes)


def test_django_asgi_only(write: Write) -> None:
    asgi = WSGI.replace("wsgi", "asgi").format(SETS.format("mysite.settings"))
    folder = write({"manage.py": MANAGE.format("mysite.settings"), "mysite/asgi.py": asgi, "mysite/settings.py": ""})
    assert look(folder).options["app"] == "mysite.asgi:application"
    write({"mysite/settings.py": "ASGI_APPLICATION = 'mysite.routing.router'", "mysite/routing.py": "router = 1"})
    found = look(folder)
    assert found.options["app"] == "mysite.routing:router"
    assert found.options["env"] == {"DJANGO_SETTINGS_MODULE": "mysite.settings"}
    write({"mysite/wsgi.py": WSGI.format(SETS.format("mysite.settings"))})
    assert look(folder).options["app"] == "mysite.wsgi:application"
    write({"mysite/settings.py": "INSTALLED_APPS = ['channels']\nASGI_APPLICATION = 'mysite.routing.router'"})
    assert any('app = "mysite.routing:router"' in note for note in look(folder).notes)


def test_django_without_any_application(write: Write) -> None:
    folder = write({"manage.py": MANAGE.format("settings"), "settings.py": "DEBUG = False"})
    found = look(folder)
    assert found.options["app"] == "django.core.wsgi:get_wsgi_application()"
    assert found.options["env"] == {"DJANGO_SETTINGS_MODULE": "settings"}


def test_django_settings_that_cannot_be_read(write: Write) -> None:
    folder = write(
        {"manage.py": MANAGE.format("mysite.settings"), "mysite/settings.py": "print 1", "mysite/wsgi.py": "x ="}
    )
    found = look(folder)
    assert found.kind == "django"
    assert found.options["app"] == "mysite.wsgi:application"
    assert any("settings module mysite.settings could not be read" in note for note in found.notes)
    assert any("settings.py was skipped: line 1" in note for note in found.notes)


def test_django_in_a_subfolder(tmp_path: Path) -> None:
    (tmp_path / "repo").mkdir()
    folder = start_project(tmp_path / "repo/backend")
    make_environment(tmp_path / "repo/.venv", "django")
    found = look(tmp_path / "repo")
    assert found.options["directory"] == str(folder)
    assert found.options["environment"] == str(tmp_path / "repo/.venv")
    assert look(folder / "manage.py").options["directory"] == str(folder)
    start_project(tmp_path / "repo/second", "second")
    with pytest.raises(UsageError, match=r"several folders have a manage\.py") as caught:
        detect(str(tmp_path / "repo"))
    assert "backend, second" in caught.value.hint


def test_django_below_source(write: Write) -> None:
    folder = write({
        "manage.py": "import os, sys\ndef main():\n    sys.path.insert(0, 'src')\n"
        "    os.environ['DJANGO_SETTINGS_MODULE'] = 'mysite.settings'\nif __name__ == '__main__':\n    main()",
        "src/mysite/settings.py": "WSGI_APPLICATION = 'mysite.wsgi.application'",
        "src/mysite/wsgi.py": WSGI.format(SETS.format("mysite.settings")),
    })  # fmt: skip
    found = look(folder)
    assert (found.options["app"], found.options["directory"]) == ("mysite.wsgi:application", str(folder / "src"))


def test_django_without_manage(tmp_path: Path) -> None:
    folder = start_project(tmp_path / "site")
    (folder / "manage.py").unlink()
    found = look(folder)
    assert (found.kind, found.options["app"]) == ("django", "mysite.wsgi:application")
    assert "/static/admin" in found.options["static"]
    (folder / "passenger_wsgi.py").write_text("from mysite.wsgi import application\n")
    assert app_of(folder) == ("django", "passenger_wsgi:application")
    assert look(folder / "mysite/asgi.py").options["app"] == "mysite.asgi:application"


def test_manage_that_is_not_django(write: Write) -> None:
    folder = write({"manage.py": "from flask_script import Manager\nManager().run()", "app.py": FLASK})
    assert app_of(folder) == ("flask", "app:app")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("BASE_DIR = Path(__file__).resolve().parent.parent\nSTATIC_ROOT = BASE_DIR / 'out'", "out"),
        ("BASE_DIR = Path(__file__).resolve(strict=True).parents[1]\nSTATIC_ROOT = f'{BASE_DIR}/out'", "out"),
        (
            "BASE = dirname(dirname(os.path.abspath(__file__)))\nSTATIC_ROOT = os.path.join(BASE, 'a', '..', 'out')",
            "out",
        ),
        ("STATIC_ROOT = 'out'", "out"),
        ("STATIC_ROOT = Path.cwd().joinpath('out')", "out"),
        ("STATIC_ROOT = os.getcwd() + '/out'", "out"),
        ("STATIC_ROOT = os.environ.get('STATIC_ROOT', str(Path('out')))", "out"),
        ("STATIC_ROOT = os.getenv('STATIC_ROOT') or 'out'", "out"),
        (
            "def env(name, default=None):\n    return os.environ.get(name, default)\nSTATIC_ROOT = env('X', 'out')",
            "out",
        ),
        ("import environ\nenv = environ.Env(DEBUG=(bool, False))\nSTATIC_ROOT = env('X', default='out')", "out"),
        ("from decouple import config\nSTATIC_ROOT = config('X', 'out')", "out"),
        ("STATIC_ROOT = 'one' if os.environ.get('X') == '1' else 'out'", "out"),
        (
            "if os.environ.get('E', 'Prod').lower() == 'prod':\n  STATIC_ROOT = 'out'\nelse:\n  STATIC_ROOT = 'one'",
            "out",
        ),
        ("import sys\nSTATIC_ROOT = 'out'\nif 'test' in sys.argv:\n    STATIC_ROOT = 'one'", "out"),
        ("if unknown():\n    STATIC_ROOT = 'out'", "out"),
        ("try:\n    STATIC_ROOT = os.environ['X']\nexcept KeyError:\n    STATIC_ROOT = 'out'", "out"),
        ("A = B = 'out'\nSTATIC_ROOT: str = B", "out"),
        ("A, STATIC_ROOT = 1, 'out'", "out"),
        ("STATIC_ROOT = unknown() + 'x'", None),
        ("STATIC_ROOT = 'o\\x1but'", None),
        ("STATIC_ROOT = 'o\\0ut'", None),
        ("STATIC_ROOT = 3", None),
    ],
)
def test_settings_values(write: Write, text: str, expected: str | None) -> None:
    head = "import os\nfrom os.path import dirname\nfrom pathlib import Path\n"
    folder = write({
        "manage.py": MANAGE.format("mysite.settings"),
        "mysite/wsgi.py": WSGI.format(SETS.format("mysite.settings")),
        "mysite/settings.py": head + text,
        "out/a.css": "", "one/a.css": "", "static/x": "",
    })  # fmt: skip
    assert look(folder).options.get("static") == (expected and {"/static/": str(folder / expected)})


# Static sites, and nothing


def test_static_site(write: Write) -> None:
    folder = write({"public/index.html": "x"})
    assert look(folder).options == {"static": {"/": f"{folder}/public"}, "directory": f"{folder}/public"}
    write({"dist/index.html": "x"})
    with pytest.raises(UsageError, match=r"several have an index\.html"):
        detect(str(folder))
    write({"index.html": "x", ".git/config": "", "make.py": "print(1)"})
    found = look(folder)
    assert (found.kind, found.options["static"]) == ("static", {"/": str(folder)})
    assert "also has .git, make.py, which nobody should be served" in found.notes[0]
    assert app_of(write({"app.py": FLASK})) == ("flask", "app:app")


def test_nothing(write: Write, tmp_path: Path) -> None:
    folder = write(
        {"readme.md": "x", "blog.toml": "app = 'x:y'", "tests/__init__.py": FLASK, "node_modules/manage.py": MANAGE}
    )
    with pytest.raises(UsageError) as caught:
        detect(str(folder))
    assert "manage.py" in caught.value.hint
    assert "index.html" in caught.value.hint
    for path in (tmp_path / "missing", folder / "readme.md", "/dev/null", tmp_path / "a\nb"):
        with pytest.raises(UsageError, match=r"^cannot look at "):
            detect(str(path))
        assert not is_project(str(path))
    odd = tmp_path / "bell\a"
    odd.mkdir()
    with pytest.raises(UsageError, match=r"bell\?: its name has characters"):
        detect(str(odd))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable(write: Write) -> None:
    folder = write({"app.py": FLASK, "wsgi.py": FASTAPI})
    (folder / "wsgi.py").chmod(0)
    found = look(folder)
    assert found.options["app"] == "app:app"
    assert any("wsgi.py was skipped: Permission denied" in note for note in found.notes)
    folder.chmod(0)
    try:
        with pytest.raises(UsageError, match=r"^cannot look at .*: Permission denied$"):
            detect(str(folder))
    finally:
        folder.chmod(0o700)


# Hostile projects


@pytest.mark.parametrize(
    ("content", "note"),
    [
        (b"def broken(:\n", "line 1 is not valid Python"),
        (b"\x00\x01\xff\xfe" * 100, "not readable as Python"),
        (b"\xff = 1\n", "not readable as Python"),
        (b"#" * (2**20 + 1), "larger than 1 MB"),
        (b"a\n" * 200_000, "too long"),
        (b"-" * 50_000 + b"1", ""),
        (b"(" * 50_000, "line 1"),
        (b"app = " + b"a." * 25_000 + b"a\n", ""),
        (b"x = " + b"1+" * 25_000 + b"1\n", ""),
        (b"x = " + b"1+" * 2_000 + b"1\n", "line 1"),
        (b"x = " + b"not " * 50_000 + b"1\n", ""),
        (b"x = 'x' + 'y'\n" + b"x = x + x\n" * 1_000, ""),
        (b"x = ['x']\n" + b"x = x + x\n" * 1_000, ""),
        (b"x = ['x']\n" + b"x = [x, x]\n" * 1_000 + b"if x == x: pass\n", ""),
        (b"def f():\n  return f() + f() + f()\nx = f()\n", ""),
        (b"def f(x):\n  return f(f(f(x)))\nx = f(f)\n" * 50, ""),
        (b"class A(A, A, A): pass\n" * 50 + b"app = A()\n" * 50, ""),
        (b"from app import *\nimport app\nfrom wsgi import app as b\nc = app.app.app.b\n", ""),
        (
            b"from pathlib import Path\nx = Path('/a')\n"
            + b"x = x / x / 'b'\n" * 1_000
            + b"y = x.resolve().parents[99999]\n",
            "",
        ),
        (b"import os\nx = os.path.join('a' * 10 ** 9, f'{1:1000000000}')\n", ""),
        (b"x = '\\d'\n" + b"if x is 'y': pass\n" * 10, ""),
        (b"x = 9" + b"9" * 10_000, ""),
        (b"x = 'a b' + 1\ny = 'a'.split('')\nz = int('" + b"9" * 4_000 + b"')\nw = [][-1:][0]\nv = ''.strip(3)\n", ""),
        (b"*a, b = c = d[e] = f.g = (yield)\n", ""),
        (b"async def f():\n  pass\nx = f()\ndef g(*a, b, **c): return a\ny = g(1, b=2, *x, **y)\n", ""),
    ],
)
def test_hostile_module(write: Write, content: bytes, note: str) -> None:
    """Whatever a module holds, it is looked at in little time, and the next one is found."""
    folder = write({"wsgi.py": content, "main.py": FLASK})
    before = time.monotonic()
    found = detect(str(folder))
    assert time.monotonic() - before < 20
    assert found.options["app"] in ("main:app", "wsgi:app")
    assert note in " ".join(found.notes)


def test_hostile_files(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write({"main.py": FLASK, "pkg/__init__.py": ""})
    os.mkfifo(folder / "wsgi.py")
    (folder / "app.py").symlink_to("app.py")
    (folder / "application.py").symlink_to("/dev/zero")
    (folder / "asgi.py").mkdir()
    (folder / "loop").symlink_to(".")
    (folder / "pkg/pkg").symlink_to("..")
    os.mkfifo(folder / "manage.py")
    assert app_of(folder) == ("flask", "main:app")
    # The kinds of files are looked at again where they are opened, as their owner may change them in between.
    monkeypatch.setattr(os.path, "isfile", lambda path: True)
    reader = reading.Reader()
    for name in ("wsgi.py", "app.py", "application.py", "asgi.py"):
        assert reader.parse(str(folder / name)) is None
    assert len(reader.notes) == 4


def test_hostile_size(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "FILES", 5)
    monkeypatch.setattr(reading, "FOLDER_ENTRIES", 10)
    folder = write({f"p{number:02}/__init__.py": "" for number in range(30)})
    assert not is_project(str(folder))
    with pytest.raises(UsageError, match="cannot tell") as caught:
        detect(str(folder))
    assert "too many entries" in caught.value.hint


def test_hostile_names(write: Write) -> None:
    folder = write({
        "manage.py": MANAGE.format("mysite.settings"),
        "mysite/wsgi.py": WSGI.format(SETS.format("mysite.settings")),
        "mysite/settings.py": "STATIC_ROOT = '/x\\u202ey'\nSTATIC_URL = '/../..'\n"
        "MEDIA_URL = 'a//b'\nMEDIA_ROOT = '/tmp'\nWSGI_APPLICATION = '../../etc/passwd.application'\n"
        "INSTALLED_APPS = ['..', '/etc', '', 'a' * 99, '.'.join([])]\n"
        "STATICFILES_DIRS = [('../..', '/etc'), ('a', 'b', 'c'), (1, 2), 3, None]\n",
    })  # fmt: skip
    found = look(folder)
    assert found.options == {"app": "mysite.wsgi:application", "directory": str(folder)}
    assert all(note.isprintable() for note in found.notes)


def test_nothing_is_run_or_written(write: Write) -> None:
    bomb = "raise SystemExit('imported')\n"
    folder = write({"app.py": FLASK + bomb, "manage.py": "raise SystemExit('run')\n" + MANAGE.format("x")})
    before = sorted(str(path) for path in folder.rglob("*"))
    modules = set(sys.modules)
    assert look(folder).kind == "django"
    assert not {
        name
        for name in set(sys.modules) - modules
        if getattr(sys.modules[name], "__file__", "").startswith(str(folder))
    }
    assert sorted(str(path) for path in folder.rglob("*")) == before


def test_options_are_of_a_site_file(write: Write) -> None:
    options: dict[str, Any] = look(write({"app.py": FLASK})).options
    assert set(options) <= {"app", "directory", "environment", "static", "env"}
