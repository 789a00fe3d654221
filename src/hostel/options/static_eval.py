"""What the names of a Python module would hold after its import, worked out from its text without running it.

A small lenient interpreter over ``ast``; it knows nothing of Django, Flask or sites. The hard part: this may run as root
on hostile files, so every reach has a bound (steps, lengths of values, depth of imports and calls), and whatever is not
understood becomes ``UNKNOWN`` instead of an error. Being lenient means: where a test cannot be told both branches are
run, in order, into the same names, so a name holds what it holds in *some* run of the program. (Long, for its one
subject: most of it is the list of expressions that real settings and application modules use.)
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import PurePosixPath
from typing import Any

from hostel.options.reading import Reader

STEPS = 200_000
LENGTH = 4_096  # of one text, path or list that is put together
ROOM = 4_000_000  # of all of them
DEPTH = 12  # of imports and calls inside each other, a call counting as three
HOPS = 10  # names that are imported from modules that import them in turn
EXTRA_ROOTS = 5
NAME = 300  # characters of a dotted name


class Nothing(Enum):
    """What stands for values that are not told: ``UNKNOWN`` may be anything, ``DATA`` is plain data, never callable."""

    UNKNOWN = auto()
    DATA = auto()


AnyFunction = ast.FunctionDef | ast.AsyncFunctionDef
UNKNOWN = Nothing.UNKNOWN
DATA = Nothing.DATA


@dataclass(frozen=True, slots=True)
class Dotted:
    """Something from outside the project, by the name it is imported under: ``os.path.join``, ``flask.Flask``."""

    name: str


@dataclass(frozen=True, slots=True)
class Import:
    """A module of the project, or a name in one, not looked into yet."""

    module: str
    name: str = ""


@dataclass(slots=True)
class Scope:
    """The names of a module, or of one call of a function, and what else running it would have done."""

    module: str
    file: str
    names: dict[str, object] = field(default_factory=dict)
    parent: Scope | None = None
    environ: dict[str, object] = field(default_factory=dict)  # what it puts into os.environ
    returns: list[object] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Signature:
    """How a function is called: the names of its positional parameters, and how many it cannot do without."""

    positional: tuple[str, ...]
    required: int
    is_async: bool


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """A function that the project defines."""

    signature: Signature
    node: AnyFunction
    scope: Scope
    decorators: tuple[object, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ClassDefinition:
    """A class that the project defines."""

    bases: tuple[object, ...]
    methods: dict[str, Signature]


@dataclass(slots=True, eq=False)
class Made:
    """What the call of something unknown, ``func``, returned, and which of its methods were called later."""

    func: str
    args: tuple[object, ...]
    keywords: dict[str, object]  # "**" is there when more are given that cannot be told
    scope: Scope
    calling: Signature | None = None  # how the object itself is called, when the project defines its class
    calls: list[tuple[str, tuple[object, ...], dict[str, object]]] = field(default_factory=list)


class Evaluator:
    """Works out what modules of a project hold, each of them once.

    ``directory`` is the first entry of ``sys.path`` and the working directory. ``roots`` are the folders that modules
    are looked for in; the project's ``sys.path.insert`` and ``append`` add to it. ``variables`` is the environment that
    the project will run in, as far as it is known. Nothing here raises.
    """

    def __init__(self, reader: Reader, directory: str, variables: Mapping[str, str]) -> None:
        self.reader = reader
        self.directory = directory
        self.variables = variables
        self.roots = [directory]
        self._real = os.path.realpath(directory)
        self._scopes: dict[str, Scope | None] = {}
        self._files: dict[str, str | None] = {}
        self._steps = STEPS
        self._room = ROOM
        self._depth = 0  # of imports and calls

    def find(self, module: str) -> str | None:
        """The file of a module of the project, or None."""
        if module not in self._files:
            parts = module.split(".")
            is_name = len(module) < NAME and all(part.isidentifier() for part in parts)
            places = [os.path.join(root, *parts) + end for root in self.roots for end in ("/__init__.py", ".py")]
            self._files[module] = next(filter(os.path.isfile, places if is_name else ()), None)
        return self._files[module]

    def load(self, module: str) -> Scope | None:
        """What a module of the project holds; None when there is no such module or it cannot be read."""
        file = self.find(module)
        return self.load_file(file, module) if file else None

    def load_file(self, file: str, module: str) -> Scope | None:
        """What a file holds when it is run under a module's name, ``"__main__"`` for one that is started."""
        if file not in self._scopes:
            self._scopes[file] = None
            tree = self.reader.parse(file) if self._depth < DEPTH else None
            if tree is None:
                return None
            scope = self._scopes[file] = Scope(module, file, {"__name__": module, "__file__": file})
            self._depth += 1
            for statement in tree.body:
                try:
                    self._run([statement], scope)
                except (RecursionError, MemoryError, ValueError, OSError):
                    self.reader.note(f"{file}: line {statement.lineno} was skipped: it is too deep to be looked at")
            self._depth -= 1
            if self._steps <= 0:
                self.reader.note(f"{file} is too long: only its beginning was looked at")
        return self._scopes[file]

    def get(self, scope: Scope | None, name: str) -> object:
        """What a name of a module holds, with imports followed; ``UNKNOWN`` when it has no such name."""
        return self._resolve(scope.names.get(name, UNKNOWN)) if scope else UNKNOWN

    def call(self, function: Function) -> object:
        """What a function of the project returns when it is called without arguments; ``UNKNOWN`` when unclear."""
        try:
            return self._enter(function, (), {})
        except (RecursionError, MemoryError, ValueError, OSError):
            return UNKNOWN

    def path(self, value: object, base: str = "") -> str | None:
        """A value as absolute path, below ``directory`` as that is written, if the value says one that can be used."""
        if not isinstance(value, (str, PurePosixPath)) or not str(value) or not str(value).isprintable():
            return None
        path = os.path.normpath(os.path.join(base or self.directory, str(value)))
        is_inside = path == self._real or path.startswith(self._real + "/")
        return self.directory + path[len(self._real) :] if is_inside else path

    # Statements

    def _run(self, body: Iterable[ast.stmt], scope: Scope) -> None:
        for statement in body:
            self._steps -= 1
            if self._steps <= 0:
                return
            match statement:
                case ast.Assign():
                    value = self._value(statement.value, scope)
                    for target in statement.targets:
                        self._assign(target, value, scope)
                case ast.AnnAssign(value=ast.expr() as expression):
                    self._assign(statement.target, self._value(expression, scope), scope)
                case ast.AugAssign(target=ast.Name(id=name), op=ast.Add()):
                    self._extend(name, self._lookup(name, scope), self._value(statement.value, scope), scope)
                case ast.Expr(value=ast.Call() as call):
                    if not self._change_list(call, scope):
                        self._value(call, scope)
                case ast.Import():
                    for alias in statement.names:
                        name = alias.name if alias.asname else alias.name.split(".")[0]
                        scope.names[alias.asname or name] = Import(name) if self._is_ours(name) else Dotted(name)
                case ast.ImportFrom():
                    self._import_from(statement, scope)
                case ast.If():
                    truth = _truth(self._value(statement.test, scope))
                    self._run(statement.body if truth is not False else (), scope)
                    self._run(statement.orelse if truth is not True else (), scope)
                case ast.Try() | ast.TryStar():
                    self._run(statement.body, scope)
                    self._run(statement.orelse, scope)
                    rescue = Scope(scope.module, scope.file, {}, scope, scope.environ, scope.returns)
                    for handler in statement.handlers:
                        self._run(handler.body, rescue)
                    for name, value in rescue.names.items():
                        if scope.names.get(name, UNKNOWN) is UNKNOWN:  # else the body is taken to have succeeded
                            scope.names[name] = value
                    self._run(statement.finalbody, scope)
                case ast.With() | ast.AsyncWith():
                    self._run(statement.body, scope)
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    decorators = tuple(self._value(one, scope) for one in statement.decorator_list)
                    scope.names[statement.name] = Function(_signature(statement), statement, scope, decorators)
                case ast.ClassDef():
                    bases = tuple(self._value(base, scope) for base in statement.bases)
                    methods = {one.name: _signature(one) for one in statement.body if isinstance(one, AnyFunction)}
                    scope.names[statement.name] = ClassDefinition(bases, methods)
                case ast.Return(value=ast.expr() as expression):
                    scope.returns.append(self._value(expression, scope))

    def _assign(self, target: ast.expr, value: object, scope: Scope) -> None:
        match target:
            case ast.Name(id=name):
                scope.names[name] = value
            case ast.Tuple(elts=targets) | ast.List(elts=targets):
                values = value if isinstance(value, tuple) and len(value) == len(targets) else (UNKNOWN,) * len(targets)
                for part, one in zip(targets, values, strict=True):
                    self._assign(part, one, scope)
            case ast.Subscript():
                key = self._value(target.slice, scope)
                if self._value(target.value, scope) == Dotted("os.environ") and isinstance(key, str):
                    scope.environ[key] = value

    def _change_list(self, node: ast.Call, scope: Scope) -> bool:
        """Carry out ``name.append(value)`` and the like; False when it is none of these."""
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method), args=[*_, ast.expr() as last]):
                items = self._lookup(name, scope)
                if not isinstance(items, tuple) or method not in ("append", "extend", "insert", "remove"):
                    return False
                value = self._value(last, scope)
                if method == "remove":
                    items, value = tuple(item for item in items if not _is_same(item, value)), ()
                elif method == "insert":  # usually at the beginning
                    items, value = (value,), items
                self._extend(name, items, (value,) if method == "append" else value, scope)
                return True
        return False

    def _extend(self, name: str, value: object, more: object, scope: Scope) -> None:
        """Make a name hold the sum of two values, in the scope that has the name."""
        at: Scope | None = scope
        while at is not None and name not in at.names:
            at = at.parent
        (at or scope).names[name] = self._add(value, more)

    def _import_from(self, statement: ast.ImportFrom, scope: Scope) -> None:
        module = statement.module or ""
        if statement.level:
            package = scope.module.split(".")
            up = statement.level - (os.path.basename(scope.file) == "__init__.py")
            if up >= len(package):
                return
            module = ".".join([*package[: len(package) - up], *([module] if module else [])])
        for alias in statement.names:
            if alias.name == "*":
                loaded = self.load(module) if self._is_ours(module) else None
                if loaded and loaded is not scope:
                    self._steps -= len(loaded.names)
                    scope.names.update((name, Import(module, name)) for name in loaded.names if name[0] != "_")
            elif statement.level or self._is_ours(module) or self.find(f"{module}.{alias.name}"):
                scope.names[alias.asname or alias.name] = Import(module, alias.name)
            else:
                scope.names[alias.asname or alias.name] = Dotted(f"{module}.{alias.name}")

    def _is_ours(self, module: str) -> bool:
        return bool(self.find(module.split(".")[0]) or self.find(module))

    # Expressions

    def _value(self, node: ast.expr, scope: Scope) -> object:
        self._steps -= 1
        if self._steps <= 0:
            return UNKNOWN
        match node:
            case ast.Constant(value=str() as text):
                return text if len(text) <= LENGTH else DATA
            case ast.Constant(value=bool() | int() | float() | None):
                return node.value
            case ast.Name(id=name):
                return self._lookup(name, scope)
            case ast.Attribute():
                return self._attribute(self._value(node.value, scope), node.attr)
            case ast.Call():
                return self._call(node, scope)
            case ast.List() | ast.Tuple():
                return self._sized(self._items(node.elts, scope))
            case ast.BinOp(op=ast.Add()):
                return self._add(self._value(node.left, scope), self._value(node.right, scope))
            case ast.BinOp(op=ast.Div()):
                return self._join(self._value(node.left, scope), self._value(node.right, scope))
            case ast.JoinedStr():
                return self._formatted(node, scope)
            case ast.BoolOp():
                value: object = UNKNOWN
                for part in node.values:
                    value = self._value(part, scope)
                    if _truth(value) is not isinstance(node.op, ast.And):
                        break
                return value
            case ast.UnaryOp(op=ast.Not()):
                truth = _truth(self._value(node.operand, scope))
                return UNKNOWN if truth is None else not truth
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as number)):
                return -number
            case ast.Compare(ops=[operator], comparators=[right]):
                return _compare(self._value(node.left, scope), operator, self._value(right, scope))
            case ast.IfExp():
                truth = _truth(self._value(node.test, scope))
                first = self._value(node.orelse if truth is False else node.body, scope)
                return self._value(node.orelse, scope) if first is UNKNOWN and truth is None else first
            case ast.Subscript():
                return self._subscript(node, scope)
            case ast.Constant() | ast.Dict() | ast.Set() | ast.DictComp() | ast.SetComp() | ast.ListComp():
                return DATA
        return UNKNOWN

    def _items(self, nodes: Iterable[ast.expr], scope: Scope) -> tuple[object, ...]:
        items: list[object] = []
        for node in nodes:
            value = self._value(node.value if isinstance(node, ast.Starred) else node, scope)
            items += value if isinstance(node, ast.Starred) and isinstance(value, tuple) else (value,)
            if len(items) > LENGTH:
                break
        return tuple(items)

    def _lookup(self, name: str, scope: Scope | None) -> object:
        while scope is not None:
            if name in scope.names:
                return self._resolve(scope.names[name])
            scope = scope.parent
        return Dotted(f"builtins.{name}") if name in ("str", "list", "tuple") else UNKNOWN

    def _resolve(self, value: object) -> object:
        for _ in range(HOPS):
            if not isinstance(value, Import) or not value.name:
                return value
            module, name = value.module, value.name
            value = scope.names.get(name, UNKNOWN) if (scope := self.load(module)) else UNKNOWN
            if value is UNKNOWN and self.find(f"{module}.{name}"):
                return Import(f"{module}.{name}")
        return UNKNOWN

    def _attribute(self, owner: object, name: str) -> object:
        match owner:
            case Dotted(name="sys") if name == "argv":
                return ()
            case Dotted(name=dotted) | Made(func=dotted) if len(dotted) < NAME:
                return Dotted(f"{dotted}.{name}")
            case Import(module=module):
                return self._resolve(Import(module, name))
            case PurePosixPath() if name in ("parent", "name"):
                return getattr(owner, name)
        return UNKNOWN

    def _subscript(self, node: ast.Subscript, scope: Scope) -> object:
        """An item of a list, of ``path.parents``, or of ``os.environ``."""
        index = self._value(node.slice, scope)
        if isinstance(index, str) and self._value(node.value, scope) == Dotted("os.environ"):
            return scope.environ.get(index, self.variables.get(index, UNKNOWN))
        if isinstance(node.value, ast.Attribute) and node.value.attr == "parents":
            path = self._value(node.value.value, scope)
            items: Sequence[object] = path.parents if isinstance(path, PurePosixPath) else ()
        else:
            items = found if isinstance(found := self._value(node.value, scope), tuple) else ()
        return items[index] if isinstance(index, int) and -len(items) <= index < len(items) else UNKNOWN

    def _formatted(self, node: ast.JoinedStr, scope: Scope) -> object:
        parts = []
        for part in node.values:
            match part:
                case ast.FormattedValue(format_spec=None, conversion=-1 | 115):
                    value = self._value(part.value, scope)
                case _:
                    value = self._value(part, scope)
            if not isinstance(value, (str, int, PurePosixPath)):
                return UNKNOWN
            parts.append(str(value))
        return self._sized("".join(parts))

    def _add(self, left: object, right: object) -> object:
        if isinstance(left, str) and isinstance(right, str):
            return self._sized(left + right)
        if isinstance(left, tuple):
            return self._sized(left + right) if isinstance(right, tuple) else left
        return right if isinstance(right, tuple) else UNKNOWN

    def _join(self, *parts: object) -> object:
        # As texts: from Python 3.12 on a path keeps all paths that it was put together from.
        paths = [str(part) for part in parts if isinstance(part, (str, PurePosixPath))]
        return self._sized(PurePosixPath(*paths)) if len(paths) == len(parts) else UNKNOWN

    def _sized(self, value: Any) -> Any:
        """The value if there is room for it."""
        length = len(str(value)) if isinstance(value, PurePosixPath) else len(value)
        self._room -= length
        return value if length <= LENGTH and self._room > 0 else UNKNOWN

    # Calls

    def _call(self, node: ast.Call, scope: Scope) -> object:
        owner: object = UNKNOWN
        method = ""
        if isinstance(node.func, ast.Attribute):
            owner, method = self._value(node.func.value, scope), node.func.attr
            func = self._attribute(owner, method)
        else:
            func = self._value(node.func, scope)
        args = self._items(node.args, scope)
        keywords = {one.arg or "**": self._value(one.value, scope) for one in node.keywords}
        match owner:
            case PurePosixPath():
                func, args = Dotted(f"path.{method}"), (owner, *args)
            case str():
                return getattr(owner, method)() if method in ("lower", "upper", "strip") and not args else UNKNOWN
            case Made():
                owner.calls.append((method, args, keywords))
        match func:
            case Function():
                return self._enter(func, args, keywords)
            case ClassDefinition():
                bases = [base.name for base in _ancestors(func) if isinstance(base, Dotted)]
                return Made(bases[0] if bases else "", args, keywords, scope, find_method(func, "__call__"))
            case Dotted(name=name):
                pass
            case Made(func=name) if len(name) < NAME:
                name = f"{name}.__call__"
            case _:  # a call of something unknown is kept too: what it is given tells what it may be
                name = ""
        if _reads_environment(name):
            if args and isinstance(args[0], str) and args[0] in self.variables:
                return UNKNOWN  # it is made of the text somehow
            return keywords.get("default", args[1] if len(args) > 1 else UNKNOWN)
        return self._known_call(name, args, keywords, scope)

    def _known_call(self, name: str, args: tuple[object, ...], keywords: dict[str, object], scope: Scope) -> object:
        first: Any = args[0] if args else UNKNOWN
        match name, first:
            case ("os.path.join", _) if args:
                joined = self._join(*args)
                return str(joined) if isinstance(joined, PurePosixPath) else joined
            case ("pathlib.Path" | "pathlib.PurePath" | "path.joinpath", _):
                return self._join(*args)
            case ("path.resolve" | "path.absolute", PurePosixPath()):
                return PurePosixPath(self._real_path(str(first)))
            case ("os.path.dirname" | "os.path.basename" | "os.path.normpath", str() | PurePosixPath()):
                return getattr(os.path, name[8:])(str(first))
            case ("os.path.abspath", str() | PurePosixPath()):
                return os.path.normpath(os.path.join(self.directory, first))
            case ("os.path.realpath", str() | PurePosixPath()):
                return self._real_path(str(first))
            case ("builtins.str" | "os.fspath" | "path.as_posix", str() | int() | PurePosixPath()):
                return str(first)
            case ("os.getcwd", _):
                return self.directory
            case ("pathlib.Path.cwd", _):
                return PurePosixPath(self.directory)
            case ("os.environ.get" | "os.getenv", str()):
                # A site's environment is empty but for what its file will say.
                default = args[1] if len(args) > 1 else keywords.get("default")
                return scope.environ.get(first, self.variables.get(first, default))
            case ("os.environ.setdefault", str()) if len(args) == 2:
                return scope.environ.setdefault(first, self.variables.get(first, args[1]))
            case ("sys.path.insert" | "sys.path.append", _) if args:
                self._add_root(args[-1])
                return None
            case ("builtins.list" | "builtins.tuple", tuple()):
                return first
        return DATA if name.startswith("builtins.") else Made(name, args, keywords, scope)

    def _real_path(self, path: str) -> str:
        """As ``os.path.realpath``, but only the project's paths are looked up: others may lead to dead file servers."""
        path = os.path.normpath(os.path.join(self.directory, path))
        self._room -= len(path)
        return os.path.realpath(path) if (path + "/").startswith(self.directory + "/") and self._room > 0 else path

    def _add_root(self, value: object) -> None:
        root = self.path(value)
        if root and root.startswith(self.directory + "/") and root not in self.roots and len(self.roots) <= EXTRA_ROOTS:
            self.roots.append(root)
            self._files = {name: file for name, file in self._files.items() if file}

    def _enter(self, function: Function, args: tuple[object, ...], keywords: dict[str, object]) -> object:
        """What a call of a function returns: preferably an object that it makes."""
        if self._depth >= DEPTH or function.signature.is_async:
            return UNKNOWN
        outer, parameters, positional = function.scope, function.node.args, function.signature.positional
        scope = Scope(outer.module, outer.file, {}, outer, outer.environ)
        only = [one.arg for one in parameters.kwonlyargs]
        rest = [one.arg for one in (parameters.vararg, parameters.kwarg) if one is not None]
        scope.names.update(dict.fromkeys((*positional, *only, *rest), UNKNOWN))
        defaults = zip(positional[len(positional) - len(parameters.defaults) :], parameters.defaults, strict=True)
        for name, default in (*defaults, *zip(only, parameters.kw_defaults, strict=True)):
            if default is not None:
                scope.names[name] = self._value(default, outer)
        scope.names.update(zip(positional, args, strict=False))
        scope.names.update((name, value) for name, value in keywords.items() if name in (*positional, *only))
        self._depth += 3
        try:
            self._run(function.node.body, scope)
        finally:
            self._depth -= 3
        known = [value for value in scope.returns if value is not UNKNOWN]
        return next((value for value in known if isinstance(value, Made)), known[0] if known else UNKNOWN)


def _reads_environment(name: str) -> bool:
    """Whether a call of this name gives an environment variable or else its default: ``env("X", default=1)``."""
    is_library = name.split(".")[0] in ("environ", "environs", "decouple") and not name.endswith("Env")
    return is_library or name.endswith(".Config.__call__")


def _signature(node: AnyFunction) -> Signature:
    names = tuple(one.arg for one in (*node.args.posonlyargs, *node.args.args))
    required = len(names) - len(node.args.defaults) + sum(default is None for default in node.args.kw_defaults)
    return Signature(names, required, isinstance(node, ast.AsyncFunctionDef))


def _ancestors(value: object, depth: int = 0) -> list[object]:
    """A class and what it derives from, nearest first."""
    if not isinstance(value, ClassDefinition) or depth > 4:
        return [value]
    return [value, *(above for base in value.bases[:3] for above in _ancestors(base, depth + 1))]


def find_method(value: object, name: str) -> Signature | None:
    """How a method of a class is called, when the project defines it there or in a class above."""
    classes = (one for one in _ancestors(value) if isinstance(one, ClassDefinition))
    return next((one.methods[name] for one in classes if name in one.methods), None)


_PLAIN = (str, int, float, type(None), PurePosixPath)


def _is_same(left: object, right: object) -> bool:
    """Whether two plain values are equal; lists are never compared, as they may share parts."""
    return isinstance(left, _PLAIN) and isinstance(right, _PLAIN) and left == right


def _truth(value: object) -> bool | None:
    if value is None or isinstance(value, (bool, int, float, str, tuple)):
        return bool(value)
    return False if value == Dotted("typing.TYPE_CHECKING") else None


def _compare(left: object, operator: ast.cmpop, right: object) -> object:
    """The truth of a comparison of plain values, and of a search in a list."""
    match operator, left, right:
        case (ast.In() | ast.NotIn(), str(), str()):
            return (left in right) is isinstance(operator, ast.In)
        case (ast.In() | ast.NotIn(), _, tuple()) if isinstance(left, _PLAIN) and UNKNOWN not in right:
            return any(_is_same(item, left) for item in right) is isinstance(operator, ast.In)
        case (ast.Eq() | ast.Is() | ast.NotEq() | ast.IsNot(), _, _):
            if isinstance(left, _PLAIN) and isinstance(right, _PLAIN):
                return _is_same(left, right) is isinstance(operator, (ast.Eq, ast.Is))
    return UNKNOWN
