"""Real projects that the scenarios start many times: Django with its admin, Flask with SQLAlchemy, a Wagtail site."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.hello import prepare
from bench.support import BIN, process

# A virtualenv of another Python, for the sites and for the peers; it has to have what they need.
ENVIRONMENT = os.environ.get("SITE_ENVIRONMENT", "")
SITE_BIN = Path(ENVIRONMENT) / "bin" if ENVIRONMENT else BIN
EXAMPLES = Path(__file__).parent.parent / "examples"
FLASK = """
import os
from flask import Flask, render_template_string, request
from sqlalchemy import ForeignKey, String, create_engine, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

class Base(DeclarativeBase):
    pass

class Author(Base):
    __tablename__ = "author"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    books: Mapped[list["Book"]] = relationship(back_populates="author")

class Book(Base):
    __tablename__ = "book"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(200))
    author_id: Mapped[int] = mapped_column(ForeignKey("author.id"))
    author: Mapped[Author] = relationship(back_populates="books")

engine = create_engine("sqlite:///" + os.path.join(os.environ["STATE_DIRECTORY"], "books.sqlite3"))
app = Flask(__name__)
PAGE = '''<!doctype html><title>Books</title><h1>{{ books|length }} of {{ count }} books</h1>
<ul>{% for book in books %}<li>{{ book.title }} by {{ book.author.name }}</li>{% else %}<li>none</li>{% endfor %}</ul>'''

def make_tables():
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        author = Author(name="Jane Austen")
        session.add_all([Book(title=f"Book {number}", author=author) for number in range(20)])
        session.commit()

@app.get("/")
def index():
    with Session(engine) as session:
        query = select(Book).join(Author).order_by(Book.title).limit(10)
        return render_template_string(
            PAGE, books=session.scalars(query).all(), count=session.scalar(select(func.count(Book.id)))
        )
"""


@dataclass(frozen=True)
class Project:
    """A project that has its database already: ``path`` is a page that uses it."""

    name: str
    directory: Path
    app: str
    path: str
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def options(self) -> dict[str, Any]:
        """What its site file says."""
        options = {"app": self.app, "directory": str(self.directory), "env": dict(self.env)}
        return options | ({"environment": ENVIRONMENT} if ENVIRONMENT else {})

    def gunicorn(self, port: int) -> AbstractContextManager[subprocess.Popen[bytes]]:
        """One gunicorn for it, with one worker."""
        command = [
            str(SITE_BIN / "gunicorn"),
            "-w",
            "1",
            "--chdir",
            str(self.directory),
            "-b",
            f"127.0.0.1:{port}",
            self.app,
        ]
        return process(command, env={**os.environ, **self.env})


def make_state(folder: Path) -> dict[str, str]:
    """A folder that whoever runs the project may write to."""
    state = folder / "state"
    state.mkdir(parents=True)
    state.chmod(0o777)
    return {"STATE_DIRECTORY": str(state)}


def make_django(folder: Path) -> Project:
    env = make_state(folder)
    shutil.copytree(EXAMPLES / "blog", folder / "blog")
    prepare(folder / "blog", env)
    return Project("Django with admin", folder / "blog", "blog_project.wsgi:application", "/", env)


def make_flask(folder: Path) -> Project:
    env = make_state(folder)
    (folder / "books.py").write_text(FLASK)
    run("-c", "import books; books.make_tables()", directory=folder, env=env)
    return Project("Flask with SQLAlchemy", folder, "books:app", "/", env)


def make_wagtail(folder: Path) -> Project:
    folder.mkdir(parents=True)
    command = [str(BIN / "wagtail"), "start", "portal", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (folder / "portal/settings/local.py").write_text("ALLOWED_HOSTS = ['*']\n")
    run("manage.py", "migrate", directory=folder, env={})
    return Project("Wagtail", folder, "portal.wsgi:application", "/", {"DJANGO_SETTINGS_MODULE": "portal.settings.dev"})


PROJECTS: Mapping[str, Callable[[Path], Project]] = {
    "flask": make_flask,
    "django": make_django,
    "wagtail": make_wagtail,
}


def run(*arguments: str, directory: Path, env: Mapping[str, str]) -> None:
    """Python in a project; what it has made may be changed by whoever serves it."""
    subprocess.run(
        [str(BIN / "python"), *arguments],
        cwd=directory,
        env={**os.environ, **env},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    for path in directory.rglob("*"):
        if path.suffix in (".sqlite3", ".pyc") or path.is_dir():
            path.chmod(0o777 if path.is_dir() else 0o666)
