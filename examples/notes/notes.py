"""Notes on a board: a small Flask application with an SQLite database."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

from flask import Flask, abort, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

# Hostel gives each site a writable folder of its own. Nothing is written beside the code, which may belong to
# somebody else than the user that the site runs as.
STATE = Path(os.environ.get("STATE_DIRECTORY", Path(__file__).parent / "state"))
DATABASE = STATE / "notes.sqlite3"
TEXT_LENGTH = 500

SCHEMA = """
CREATE TABLE IF NOT EXISTS note (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    text TEXT NOT NULL,
    written TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
)
"""

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 64 * 1024
app.config["TITLE"] = os.environ.get("NOTES_TITLE", "Notes")


def connect() -> sqlite3.Connection:
    """A connection to the database. It waits up to ten seconds for another thread or worker that writes."""
    connection = sqlite3.connect(DATABASE, timeout=10)
    connection.row_factory = sqlite3.Row
    return connection


def database() -> sqlite3.Connection:
    """The connection of the request being answered, opened when it is first needed."""
    if "connection" not in g:
        g.connection = connect()
    return g.connection


@app.teardown_appcontext
def disconnect(error: BaseException | None) -> None:
    connection = g.pop("connection", None)
    if connection is not None:
        connection.close()


# Once for each worker, before its first request. IF NOT EXISTS lets several workers do it at the same time.
STATE.mkdir(mode=0o700, parents=True, exist_ok=True)
with closing(connect()) as first_connection, first_connection:
    first_connection.execute(SCHEMA)


@app.before_request
def refuse_forms_of_other_sites() -> None:
    """A page of another site must not add or delete notes in our visitor's name (cross-site request forgery).

    Browsers say with each POST from where it comes. Programs such as curl do not, and are nobody's browser.
    """
    origin = request.headers.get("Origin")
    if request.method == "POST" and origin is not None and urlsplit(origin).netloc != request.host:
        abort(403)


@app.get("/")
def index() -> str:
    return show_board()


@app.post("/notes")
def add() -> Response | tuple[str, int]:
    # Browsers send line breaks as CR LF and count them as one character of maxlength.
    text = request.form.get("text", "").replace("\r\n", "\n").strip()
    if not text:
        return show_board(error="There is nothing on this note yet."), 422
    if len(text) > TEXT_LENGTH:
        return show_board(error=f"A note has room for {TEXT_LENGTH} characters.", text=text), 422
    with database() as transaction:
        transaction.execute("INSERT INTO note (text) VALUES (?)", (text,))
    # Redirected, the browser shows the board by a GET, and reloading the page does not add the note again.
    return redirect(url_for("index"), 303)


@app.post("/notes/<int:number>/delete")
def delete(number: int) -> Response:
    with database() as transaction:
        transaction.execute("DELETE FROM note WHERE id = ?", (number,))
    return redirect(url_for("index"), 303)


def show_board(error: str = "", text: str = "") -> str:
    """The page, with what was wrong with a new note and its text, for another try."""
    notes = database().execute("SELECT id, text, written FROM note ORDER BY id DESC LIMIT 200").fetchall()
    return render_template(
        "board.html", title=app.config["TITLE"], notes=notes, error=error, text=text, length=TEXT_LENGTH
    )
