"""Finding the application: each way to fail has its sentence and remedy; WSGI is told from ASGI by looking."""

from __future__ import annotations

import functools
import importlib
import os
import pwd
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette

from hostel.worker.load import LoadError, involved_sources, is_asgi, load, shared_modules

Project = Callable[[str], str]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A site's directory, in front of the path; what is imported from there is forgotten at the end."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def write(project: Path, name: str, code: str) -> Path:
    path = project / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(code))
    importlib.invalidate_caches()
    return path


def failure_of(application: str, project: Path) -> LoadError:
    with pytest.raises(LoadError) as caught:
        load(application, str(project))
    return caught.value


# --- what is found ------------------------------------------------------------------------------------------------------


def test_the_object_that_is_named(project: Path) -> None:
    write(
        project,
        "found/wsgi.py",
        """
        class Holder:
            @staticmethod
            def inner(environ, start_response): pass
        application = Holder.inner
        def make():
            return application
        class Factory:
            make = staticmethod(make)
        """,
    )
    write(project, "found/__init__.py", "")
    for name in ("application", "Holder.inner", "make()", "Factory.make()", "Holder"):
        found = load(f"found.wsgi:{name}", str(project))
        assert found.__name__ == ("Holder" if name == "Holder" else "inner")


# --- what is not --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("application", "missing"),
    [("nowhere:application", "nowhere"), ("nowhere.wsgi:application", "nowhere"), ("package.wsgi:app", "package.wsgi")],
)
def test_a_missing_module(project: Path, application: str, missing: str) -> None:
    write(project, "package/__init__.py", "")
    failure = failure_of(application, project)
    assert str(failure) == f"no module named {missing!r}"
    assert application in failure.hint
    assert str(project) in failure.hint
    assert failure.traceback == ""  # the sentence says all


def test_a_module_that_is_no_package(project: Path) -> None:
    write(project, "plain.py", "")
    assert str(failure_of("plain.wsgi:app", project)) == "no module named 'plain.wsgi'"


def test_a_missing_dependency(project: Path) -> None:
    path = write(project, "needy.py", "import there_is_no_such_thing.at_all\n")
    failure = failure_of("needy:app", project)
    assert str(failure) == "no module named 'there_is_no_such_thing'"
    assert f"install it into the site's environment ({sys.prefix})" in failure.hint
    assert str(path) in failure.traceback


def test_a_module_not_found_error_without_a_name(project: Path) -> None:
    write(project, "nameless.py", "raise ModuleNotFoundError('my own words')")
    assert str(failure_of("nameless:app", project)) == "no module named 'my own words'"


def test_a_missing_part_of_python(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can install that into an environment."""
    write(project, "incomplete.py", "import tkinter.ttk\n")
    for name in [name for name in sys.modules if name.partition(".")[0] in ("tkinter", "_tkinter")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [str(project)])  # this finds nothing of Python's
    failure = failure_of("incomplete:app", project)
    assert str(failure) == "no module named 'tkinter'"
    assert "install it into" not in failure.hint
    assert "belongs to Python itself" in failure.hint
    assert f"({sys.base_prefix}) lacks it or is broken" in failure.hint


def test_a_file_that_stands_in_the_way_of_a_part_of_python(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(project, "wave.py", "")
    write(project, "shadowed.py", "import wave.forms\n")
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    failure = failure_of("shadowed:app", project)
    assert str(failure) == "no module named 'wave.forms'"
    assert failure.hint == f"{path} stands in the way of Python's own module 'wave': give it another name"


def test_a_part_of_python_that_there_is_not(project: Path) -> None:
    write(project, "old.py", "import email.MIMEText\n")
    failure = failure_of("old:app", project)
    assert str(failure) == "no module named 'email.MIMEText'"
    assert failure.hint.startswith("'email' belongs to Python itself, and that of Python 3.")
    assert failure.hint.endswith(" has no 'MIMEText': check the name")


def test_what_is_proposed_instead_of_a_missing_attribute(project: Path) -> None:
    """What was just imported is no proposal, and what raises when it is looked at is passed over."""
    code = """
        from typing import Any
        from flask import Flask, current_app, g, request
        class Settings:
            @property
            def broken(self): raise RuntimeError
        settings, site = Settings(), Flask("site")
    """
    write(project, "proxies.py", textwrap.dedent(code))
    assert failure_of("proxies:application", project).hint.endswith("site")
    assert "Any" not in failure_of("proxies:application", project).hint
    assert failure_of("proxies:settings.application", project).hint == "it has no callable at all"


def test_a_missing_attribute(project: Path) -> None:
    write(project, "named.py", "def create(): pass\nclass App: pass\n_hidden = print\nvalue = 5\n")
    failure = failure_of("named:application", project)
    assert (str(failure), failure.hint) == ("module 'named' has no 'application'", "it has: App, create")
    failure = failure_of("named:App.inner", project)
    assert str(failure) == "named:App has no 'inner'"
    write(project, "bare.py", "value = 5\n")
    failure = failure_of("bare:application", project)
    assert (str(failure), failure.hint) == ("module 'bare' has no 'application'", "it has no callable at all")
    assert str(failure_of("named:create_app()", project)) == "module 'named' has no 'create_app'"


def test_what_cannot_be_called(project: Path) -> None:
    write(project, "odd.py", "application = 5\ndef make(): return 'text'\n")
    failure = failure_of("odd:application", project)
    assert str(failure) == "'odd:application' is int, which cannot be called"
    assert "with () at its end" in failure.hint
    assert str(failure_of("odd:make()", project)) == "'odd:make()' is str, which cannot be called"


@pytest.mark.parametrize(("code", "status"), [("sys.exit(3)", "3"), ("sys.exit()", "None"), ("sys.exit('no')", "'no'")])
def test_an_exit_at_import(project: Path, code: str, status: str) -> None:
    write(project, "leaving.py", f"import sys\n{code}\n")
    failure = failure_of("leaving:app", project)
    assert str(failure) == f"module 'leaving' exits when it is imported (status {status})"
    assert "if __name__ == '__main__'" in failure.hint
    assert code in failure.traceback


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("raise RuntimeError('out of luck')", "RuntimeError: out of luck"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt: "),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("from os import no_such_name", "ImportError: cannot import name 'no_such_name' from 'os'"),
        ("class E(BaseException): pass\nraise E('odd')", "E: odd"),
    ],
)
def test_an_exception_at_import(project: Path, code: str, sentence: str) -> None:
    path = write(project, "raising.py", code)
    failure = failure_of("raising:app", project)
    assert str(failure).startswith(sentence)
    assert failure.hint == "see the traceback"
    lines = failure.traceback.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert str(path) in lines[1]  # without frames of ours, or of the import system, before


def refusal(path: Path | str | None) -> str:
    """Code that is refused something, as root never is."""
    return (
        f"raise PermissionError(13, 'Permission denied', {str(path)!r})" if path else "raise PermissionError(1, 'No')"
    )


def test_a_refusal_names_the_path_the_user_and_the_remedy(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user = pwd.getpwuid(os.geteuid()).pw_name
    secret = write(project, "secret.txt", "")
    write(project, "refused.py", f"def make():\n    {refusal(secret)}\n{refusal(secret)}\n")
    assert failure_of("refused:app", project).hint == (
        f"the site runs as user {user}, who owns {secret}, but its mode refuses: see chmod"
    )
    monkeypatch.setattr(os, "geteuid", lambda: 4321)  # nobody has this number
    write(project, "refused.py", f"def make():\n    {refusal(secret)}\nif 1:\n    {refusal(secret)}\n")
    failure = failure_of("refused:app", project)
    assert str(failure) == f"PermissionError: [Errno 13] Permission denied: '{secret}'"
    assert failure.hint == (
        f"the site runs as user 4321, who may not use {secret}: "
        f"give it to that user (chown 4321 {secret}), or set user to one who may"
    )
    write(project, "factory.py", f"def make():\n    {refusal(secret)}\n")
    assert f"chown 4321 {secret}" in failure_of("factory:make()", project).hint
    write(project, "attribute.py", f"def __getattr__(name):\n    {refusal(secret)}\n")
    assert f"chown 4321 {secret}" in failure_of("attribute:app", project).hint


def test_a_refusal_to_make_a_file(project: Path) -> None:
    path = project / "logs" / "app.log"
    write(project, "making_log.py", refusal(path))
    hint = failure_of("making_log:app", project).hint
    assert f"may not make {path} in {project}: make it and give it to that user (chown " in hint
    assert "or set user to one who may" in hint


def test_a_refusal_that_led_to_another_exception(project: Path) -> None:
    """As a log file of Django's that cannot be written: ValueError, "Unable to configure handler 'file'"."""
    path = project / "django.log"
    for number, end in enumerate(("raise ValueError('no') from error", "raise ValueError('no')")):
        write(project, f"chained{number}.py", f"try:\n    {refusal(path)}\nexcept OSError as error:\n    {end}\n")
        failure = failure_of(f"chained{number}:app", project)
        assert str(failure) == "ValueError: no"
        assert str(path) in failure.hint
    write(project, "hidden.py", f"try:\n    {refusal(path)}\nexcept OSError:\n    raise ValueError('no') from None\n")
    assert failure_of("hidden:app", project).hint == "see the traceback"


def test_a_refusal_without_a_path(project: Path) -> None:
    write(project, "pathless.py", refusal(None))
    user = pwd.getpwuid(os.geteuid()).pw_name
    hint = failure_of("pathless:app", project).hint
    assert hint == f"see the traceback; the site runs as user {user}, who may not do this"


def test_frames_of_the_import_system_are_left_out(project: Path) -> None:
    """Frameworks import by name, as Django its apps, and Python shows how it went about that."""
    last = write(project, "third.py", "1 / 0\n")
    path = write(project, "second.py", "import importlib\nimportlib.import_module('third')\n")
    write(
        project,
        "first.py",
        """
        import importlib
        try:
            importlib.import_module("second")
        except ZeroDivisionError as error:
            raise RuntimeError("it did not work") from error
        """,
    )
    text = failure_of("first:app", project).traceback
    assert "importlib" not in text.replace("importlib.import_module(", "")
    assert "The above exception was the direct cause of the following exception" in text
    assert all(f'File "{file}", line ' in text for file in (last, path, project / "first.py"))


def test_a_syntax_error(project: Path) -> None:
    path = write(project, "broken.py", "def f(:\n    pass\n")
    failure = failure_of("broken:app", project)
    assert str(failure).startswith("SyntaxError: invalid syntax")
    assert str(path) in failure.traceback
    assert str(path) in involved_sources(str(project), failure.traceback)


def test_null_bytes_and_bad_encodings(project: Path) -> None:
    (project / "zero.py").write_bytes(b"a = 1\0\n")
    assert "Error" in str(failure_of("zero:app", project))
    (project / "latin.py").write_bytes(b"a = '\xe9'\n")
    assert str(failure_of("latin:app", project)).startswith("SyntaxError")


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("raise RuntimeError('no database')", "making:make() raised RuntimeError: no database"),
        ("import sys; sys.exit(2)", "making:make() raised SystemExit: 2"),
        ("return make(1)", "making:make() raised TypeError"),
        ("raise KeyboardInterrupt", "making:make() raised KeyboardInterrupt"),
    ],
)
def test_a_factory_that_fails(project: Path, code: str, sentence: str) -> None:
    path = write(project, "making.py", f"def make():\n    {code}\n")
    failure = failure_of("making:make()", project)
    assert str(failure).startswith(sentence)
    assert str(path) in failure.traceback


def test_a_name_that_is_no_factory(project: Path) -> None:
    write(project, "number.py", "make = 5\n")
    assert "raised TypeError" in str(failure_of("number:make()", project))


def test_a_lazy_attribute_that_fails(project: Path) -> None:
    write(project, "lazy.py", "def __getattr__(name):\n    raise ImportError('no such driver')\n")
    failure = failure_of("lazy:application", project)
    assert str(failure) == "ImportError: no such driver"
    assert "__getattr__" in failure.traceback


# --- WSGI or ASGI -------------------------------------------------------------------------------------------------------


def wsgi_function(environ: Any, start_response: Any) -> Any: ...


async def asgi_function(scope: Any, receive: Any, send: Any) -> None: ...


def asgi_without_async(scope: Any, receive: Any, send: Any) -> Any: ...


class WsgiInstance:
    def __call__(self, environ: Any, start_response: Any) -> Any: ...

    def method(self, environ: Any, start_response: Any) -> Any: ...


class AsgiInstance:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...

    async def method(self, scope: Any, receive: Any, send: Any) -> None: ...


class WsgiClass:
    """As PEP 3333 has it: called for each request, and the instance is the result."""

    def __init__(self, environ: Any, start_response: Any) -> None: ...

    def __iter__(self) -> Iterator[bytes]:
        yield b""


class AsgiClass:
    """As Starlette's endpoints: called for each request, and the instance is awaited."""

    def __init__(self, scope: Any, receive: Any, send: Any) -> None: ...

    def __await__(self) -> Any: ...


def plain_decorator(function: Any) -> Any:
    """As most decorators are: it takes anything, and says what it wraps."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def careless_decorator(function: Any) -> Any:
    async def wrapper(*args: Any) -> Any:
        return await function(*args)

    return wrapper


@functools.wraps(asgi_function)
def wsgi_around_asgi(environ: Any, start_response: Any) -> Any: ...


def configured(settings: Any, environ: Any, start_response: Any) -> Any: ...


async def configured_asgi(settings: Any, scope: Any, receive: Any, send: Any) -> None: ...


class Everything:
    """Has whatever it is asked for, as proxies and mocks do."""

    def __getattr__(self, name: str) -> Any:
        return self

    def __call__(self, *args: Any) -> Any: ...


class Endless:
    def __init__(self) -> None:
        self.__wrapped__ = self

    def __call__(self, *args: Any) -> Any: ...


@pytest.mark.parametrize(
    "application",
    [
        asgi_function, asgi_without_async, AsgiInstance(), AsgiInstance().method, AsgiClass, Starlette(),
        functools.partial(asgi_function), functools.partial(configured_asgi, {}),
        functools.partial(functools.partial(asgi_function)), functools.partial(AsgiInstance()),
        plain_decorator(asgi_function), plain_decorator(plain_decorator(asgi_function)),
        careless_decorator(asgi_function), plain_decorator(AsgiInstance().method), plain_decorator(AsgiInstance()),
    ],
)  # fmt: skip
def test_asgi(application: Any) -> None:
    assert is_asgi(application)


@pytest.mark.parametrize(
    "application",
    [
        wsgi_function, WsgiInstance(), WsgiInstance().method, WsgiClass, functools.partial(wsgi_function),
        functools.partial(configured, {}), plain_decorator(wsgi_function), plain_decorator(WsgiInstance().method),
        wsgi_around_asgi, Everything(), Endless(), functools.partial(Everything()), print, len, dict, lambda *args: None,
        lambda environ, start_response: None,
    ],
)  # fmt: skip
def test_wsgi(application: Any) -> None:
    assert not is_asgi(application)


def test_frameworks() -> None:
    import fastapi
    import flask
    from django.conf import settings
    from django.core.handlers.asgi import ASGIHandler
    from django.core.handlers.wsgi import WSGIHandler

    if not settings.configured:
        settings.configure()
    assert is_asgi(fastapi.FastAPI())
    assert is_asgi(ASGIHandler())
    assert not is_asgi(WSGIHandler())
    assert not is_asgi(flask.Flask("app"))
    assert not is_asgi(flask.Flask("app").wsgi_app)


# --- what to watch, what to share ---------------------------------------------------------------------------------------


def test_the_sites_own_files_are_to_be_watched(project: Path) -> None:
    write(project, "watched/__init__.py", "from watched import inner\n")
    write(project, "watched/inner.py", "import there_is_no_such_thing\n")
    write(project, "imported.py", "")
    library = write(project, "venv/lib/python3/site-packages/library.py", "")
    importlib.import_module("imported")
    failure = failure_of("watched:app", project)
    text = failure.traceback + f'  File "{library}", line 1\n  File "/elsewhere/file.py", line 1\n'
    found = involved_sources(str(project), text)
    assert found == tuple(
        sorted(str(project / name) for name in ("imported.py", "watched/__init__.py", "watched/inner.py"))
    )
    assert involved_sources(str(project) + "x", text) == ()


def test_there_is_a_bound_to_what_is_watched(project: Path) -> None:
    text = "".join(f'  File "{project}/{number}.py", line 1\n' for number in range(1000))
    assert len(involved_sources(str(project), text)) == 200


def test_modules_of_others_are_to_be_shared(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = project / "venv" / "lib" / "python3" / "site-packages"
    write(project, "venv/__init__.py", "")
    packages.mkdir(parents=True, exist_ok=True)
    (packages / "shared_library.py").write_text("import shared_part\n")
    (packages / "shared_part.py").write_text("")
    monkeypatch.syspath_prepend(str(packages))
    write(project, "private.py", "import shared_library, this_is_elsewhere\n")
    elsewhere = project.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "this_is_elsewhere.py").write_text("")
    monkeypatch.syspath_prepend(str(elsewhere))
    before = set(sys.modules)
    try:
        importlib.import_module("private")
        names = shared_modules(str(project), before)
        assert names == (
            "shared_part",
            "shared_library",
            "this_is_elsewhere",
        )  # a part is imported before what needs it
        assert shared_modules(str(project), set(sys.modules)) == ()
    finally:
        for name in set(sys.modules) - before:
            del sys.modules[name]


def test_strange_modules_do_no_harm(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lazy modules run code of their own when they are looked at."""

    class Exploding:
        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError(name)

    with monkeypatch.context() as patch:
        for name, module in (("exploding", Exploding()), ("absent", None), ("number", 5)):
            patch.setitem(sys.modules, name, module)
        assert "exploding" not in shared_modules(str(project), set())
        assert involved_sources(str(project), "") == ()
