"""The types of option values, each with its own sentence for what is wrong with a value.

Pure: text in, value or ``ValueError`` out. The texts of the errors are read by people: they say what would be right.
"""

from __future__ import annotations

import ipaddress
import re
import reprlib
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

SITE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,46}[a-z0-9])?")
# A host name becomes the path of a socket, and unix(7) allows 107 bytes for it.
TENANT_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,30}[a-z0-9])?")
OF_TENANT = "+"  # between a tenant's name and that of its site
DOMAIN_BYTES = 107 - len("hosts/") - len("/tls/http.sock")
LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
UNITS_OF_TIME = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
UNITS_OF_SIZE = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}
YEAR = 366 * 86400
PATH_BYTES = 4095  # PATH_MAX, with the NUL at its end
PART_BYTES = 255  # NAME_MAX
ERROR_STATUSES = ("404", "413", "429", "500", "502", "503", "504")
LEAST_UID, MOST_UID = 1000, 2**32 - 2  # of users that are made for sites
MOUNT_PARTS = 4  # of a path that a site is mounted at; the front tries the longest first

SHOWN_CHARACTERS = 80
_shown = reprlib.Repr()
_shown.maxstring = _shown.maxother = _shown.maxlong = SHOWN_CHARACTERS


def show(value: Any) -> str:
    """A value as it is quoted in a message: short, and without control characters, whatever it is."""
    try:
        text = _shown.repr(value)
    except ValueError:  # an integer of too many digits
        return "a very long number"
    return plain(text, SHOWN_CHARACTERS)


def plain(text: str, most: int = 1000) -> str:
    """Text that somebody else chose, fit for a line of a log or a terminal: short, and all of it visible."""
    cut = text if len(text) <= most else text[: most - 3] + "..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)


def reason_of(detail: Mapping[str, Any]) -> str:
    """One of pydantic's findings (``ValidationError.errors()``) in words for the person who wrote the value."""
    given = show(detail["input"])
    kind, context = detail["type"], detail.get("ctx") or {}
    match kind:
        case "unexpected_keyword_argument" | "extra_forbidden":
            return "unknown option"
        case "value_error":
            return str(context["error"])
        case "int_type" | "int_parsing" | "int_from_float":
            return f"has to be a whole number, not {given}"
        case "bool_type" | "bool_parsing":
            return f"has to be true or false, not {given}"
        case "greater_than_equal":
            return f"has to be at least {context['ge']}, not {given}"
        case "greater_than":
            return f"has to be more than {context['gt']:g}, not {given}"
        case "less_than_equal":
            return f"has to be at most {context['le']}, not {given}"
        case "dict_type" | "dataclass_type":
            return f"has to be a table, not {given}"
        case "tuple_type" | "list_type":
            return f"has to be a list, not {given}"
        case "literal_error":
            return f"has to be one of {context['expected']}, not {given}"
    return f"{detail['msg'][:1].lower()}{detail['msg'][1:]} ({given})"


def parse_site_name(text: Any) -> str:
    """A site's name: it is part of paths, so it is short and plain."""
    if not isinstance(text, str) or not SITE_NAME.fullmatch(text):
        raise ValueError(
            f"a site's name is 1 to 48 small letters, digits, '-' and '_', beginning and ending with a letter or digit; "
            f"{show(text)} is not"
        )
    return text


def parse_full_name(text: Any) -> str:
    """A site's name, or that of a tenant's site with the tenant's before it: ``alice+blog``."""
    if isinstance(text, str) and OF_TENANT in text:
        tenant, _, site = text.partition(OF_TENANT)
        if TENANT_NAME.fullmatch(tenant) and SITE_NAME.fullmatch(site):
            return text
    return parse_site_name(text)


def parse_duration(value: Any) -> float:
    """Seconds, from a number of seconds or from text such as ``"250ms"``, ``"30s"``, ``"10m"``, ``"2h"``, ``"1d"``."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = value
    elif isinstance(value, str) and (match := re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d)", value.strip())):
        seconds = float(match[1]) * UNITS_OF_TIME[match[2]]
    else:
        raise ValueError(f'give a number of seconds, or text such as "30s", "10m" or "2h", not {show(value)}')
    if not 0 <= seconds <= YEAR:
        raise ValueError(f"a duration lies between 0 and a year, and {show(value)} does not")
    return float(seconds)


def parse_size(value: Any) -> int:
    """Bytes, from a number of bytes or from text such as ``"64K"``, ``"256M"``, ``"2G"`` (powers of 1024)."""
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    elif isinstance(value, str) and (match := re.fullmatch(r"([0-9]{1,20})\s*([KMG]?)i?B?", value.strip())):
        size = int(match[1]) * UNITS_OF_SIZE[match[2]]
    else:
        raise ValueError(f'give a number of bytes, or text such as "64K", "256M" or "2G", not {show(value)}')
    if not 0 <= size < 2**50:
        raise ValueError(f"a size lies between 0 and 1024T, and {show(value)} does not")
    return size


def parse_domain(value: Any) -> str:
    """A host name in lower case and ASCII, ``*.name`` for all names below one, or ``*`` for every other name."""
    if not isinstance(value, str):
        raise ValueError(f"a domain is text, and {show(value)} is not")
    if value == "*":
        return value
    name = value.strip().lower().removesuffix(".")
    is_wildcard = name.startswith("*.")
    if is_wildcard:
        name = name[2:]
    if not name.isascii() and len(name) <= DOMAIN_BYTES:
        name = to_ascii(name)
    if "/" in name or ":" in name:
        raise ValueError(f"{show(value)} is not a host name: leave out the scheme, the port and the path")
    if "*" in name:
        raise ValueError(f"{show(value)}: '*' may only stand for all names below one, as in '*.example.com', or alone")
    if len(name) > DOMAIN_BYTES:
        raise ValueError(
            f"{show(value)} is longer than {DOMAIN_BYTES} bytes, which is what the path of a socket has room for; "
            f"'*' for its first part, as in '*.example.com', takes names of any length"
        )
    if not all(LABEL.fullmatch(label) for label in name.split(".")):
        raise ValueError(f"{show(value)} is not a host name")
    return f"*.{name}" if is_wildcard else name


def to_ascii(name: str) -> str:
    """A host name as it goes over the wire, by the rules of browsers (IDNA 2008 after the mapping of UTS #46).

    Python's own codec has the rules of 2003, by which "straße" is "strasse": another name, which may be somebody else's.
    """
    import idna  # large, and most names are ASCII

    try:
        mapped = idna.uts46_remap(name, std3_rules=False, transitional=False)
        return ".".join(label if label.isascii() else idna.alabel(label).decode() for label in mapped.split("."))
    except UnicodeError as error:  # idna's errors are of this kind
        raise ValueError(f"{show(name)} is not a host name: {plain(str(error), 200)}") from None


def to_readable(name: str) -> str:
    """A host name, or a URL with one, with the letters that its encoded labels stand for."""
    return (
        re.sub(r"(?<![\w-])xn--[a-z0-9-]+", lambda match: _readable_label(match[0]), name) if "xn--" in name else name
    )


def _readable_label(label: str) -> str:
    import idna

    try:
        return idna.ulabel(label)
    except UnicodeError:
        return label


def parse_url_prefix(value: Any) -> str:
    """A path in URLs, as ``/static/``; it comes back without the last slash, and the root as the empty text."""
    if not isinstance(value, str) or not value.startswith("/"):
        raise ValueError(f"a path in URLs begins with '/', and {show(value)} does not")
    if value == "/":
        return ""
    parts = value[1:].removesuffix("/").split("/")
    if any(part in ("", ".", "..") or not part.isprintable() for part in parts):
        raise ValueError(f"{show(value)} has an empty part, '.', '..' or an unprintable character")
    if len(value.encode()) > 1000 or any(len(part.encode()) > PART_BYTES for part in parts):
        raise ValueError(f"a path in URLs has at most 1000 bytes, and each of its parts at most {PART_BYTES}")
    return "/" + "/".join(parts)


def parse_url_path(value: Any) -> str:
    """A path in URLs as an application sees it: decoded, and with its last slash if it has one."""
    if not isinstance(value, str) or not value.startswith("/"):
        raise ValueError(f"a path in URLs begins with '/', and {show(value)} does not")
    if "?" in value or not value.isprintable() or len(value.encode()) > 1000:
        raise ValueError(
            f"{show(value)} is more than a path: write what comes before '?', unescaped, in 1000 bytes at most"
        )
    return value


def parse_error_status(value: Any) -> str:
    """The status of an answer that the front gives in a site's place."""
    if value not in ERROR_STATUSES:
        raise ValueError(f"an error page is for one of {', '.join(ERROR_STATUSES)}, and {show(value)} is none of them")
    return str(value)


def parse_mount_path(value: Any) -> str:
    """A path in URLs for another site; it comes back without the last slash."""
    path = parse_url_prefix(value)
    parts = path.split("/")[1:]
    if not 1 <= len(parts) <= MOUNT_PARTS:
        raise ValueError(
            f"a site is mounted at a path of 1 to {MOUNT_PARTS} parts, as '/shop', and {show(value)} is not one"
        )
    if "+" in parts:
        raise ValueError(f"{show(value)}: a part cannot be '+' alone, which the run tree needs for itself")
    return path


def parse_application(value: Any) -> str:
    """``package.module:object``, or ``package.module:function()`` for one that makes the application."""
    if not isinstance(value, str):
        raise ValueError(f"app is text, and {show(value)} is not")
    if len(value) > 500 or not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*(\(\))?", value):
        raise ValueError(f'{show(value)} is not of the form "package.module:object", as in "mysite.wsgi:application"')
    return value


def parse_path(value: Any) -> str:
    """A path of the file system: no NUL, no line breaks."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"a path is text and not empty, and {show(value)} is not")
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise ValueError(f"a path has no control characters, and {show(value)} does")
    if len(value.encode("utf-8", "surrogateescape")) > PATH_BYTES:
        raise ValueError(f"a path has at most {PATH_BYTES} bytes")
    return value


def parse_user(value: Any) -> str:
    """The name of a system user; whether there is such a user is not asked here."""
    if not isinstance(value, str):
        raise ValueError(f"a user is named by text, and {show(value)} is not")
    if not re.fullmatch(r"\w[\w.@+-]{0,254}\$?", value):
        raise ValueError(f"{show(value)} is not the name of a system user")
    return value


def parse_uid_range(value: Any) -> str:
    """Numbers of system users, as ``FIRST-LAST``; both belong to it."""
    match = re.fullmatch(r"\s*([0-9]{1,10})\s*-\s*([0-9]{1,10})\s*", str(value))
    if match is None:
        raise ValueError(f"write FIRST-LAST, as in 1900000000-1900099999, not {show(value)}")
    first, last = int(match[1]), int(match[2])
    if not LEAST_UID <= first <= last <= MOST_UID:
        raise ValueError(f"the numbers of users lie between {LEAST_UID} and {MOST_UID}, the smaller one first")
    if first <= 65535 and last >= 65534:
        raise ValueError("65534 is nobody, and 65535 nobody's number: choose a range without them")
    return f"{first}-{last}"


def parse_variable(value: Any) -> str:
    """The value of an environment variable."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"the value of an environment variable is text, and {show(value)} is not")
    if isinstance(value, int) and abs(value) >= 2**64:
        raise ValueError("a number this long has to be written as text")
    if "\0" in str(value):
        raise ValueError("the value of an environment variable has no NUL")
    return str(value)


def parse_variable_name(value: Any) -> str:
    """The name of an environment variable."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,199}", value):
        raise ValueError(
            f"the name of an environment variable is up to 200 letters, digits and '_', and {show(value)} is not"
        )
    return value


PYTHONS = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")  # that sites can run on


def parse_python(value: Any) -> str:
    """A version of Python, or the path of an interpreter."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise ValueError(
            f'a version is text, because 3.10 is the number 3.1: write it in quotes, as "3.13", not {value}'
        )
    if isinstance(value, str) and "/" in value:
        return parse_path(value)
    if value not in PYTHONS:
        raise ValueError(f"has to be one of {', '.join(PYTHONS)}, or the path of an interpreter, not {show(value)}")
    return str(value)


def parse_cookie_name(value: Any) -> str:
    """The name of a cookie, or ``*`` for every cookie."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_.-]{1,100}|\*", value):
        raise ValueError(
            f"the name of a cookie is up to 100 letters, digits, '_', '.' and '-', or '*' for every one; {show(value)} is not"
        )
    return value


def parse_listen(value: Any) -> str:
    """``HOST:PORT`` for an address as ``8000``, ``:8000``, ``127.0.0.1:8000``, ``[::1]:8000`` or ``*:80``."""
    match = re.fullmatch(r"(?:(\*|\[[0-9A-Fa-f:.]+\]|[0-9.]+|localhost)?:)?([0-9]{1,5})", str(value).strip())
    host = {None: "127.0.0.1", "localhost": "127.0.0.1", "*": "0.0.0.0"}.get(match[1], match[1]) if match else ""
    try:
        if match is None or not 0 < int(match[2]) < 65536:
            raise ValueError
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        raise ValueError(f"{show(value)} is not an address: write PORT, IPV4:PORT, [IPV6]:PORT or *:PORT") from None
    return f"{host}:{int(match[2])}"


def parse_network(value: Any) -> str:
    """An IP address, or a network as ``10.0.0.0/8``."""
    try:
        network = ipaddress.ip_network(str(value).strip())
    except ValueError:
        raise ValueError(f"{show(value)} is no IP address and no network, as '10.0.0.0/8' is one") from None
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


def _schema(kind: str, unit: str, pattern: str) -> WithJsonSchema:
    return WithJsonSchema(
        {"anyOf": [{"type": kind, "minimum": 0}, {"type": "string", "pattern": pattern}], "unit": unit}
    )


_TIME = _schema("number", "time", r"^[0-9]+(\.[0-9]+)?\s*(ms|s|m|h|d)$")
_SIZE = _schema("integer", "size", r"^[0-9]+\s*[KMG]?i?B?$")

Duration = Annotated[float, BeforeValidator(parse_duration), _TIME]
Size = Annotated[int, BeforeValidator(parse_size), _SIZE]
Domain = Annotated[str, BeforeValidator(parse_domain)]
UrlPrefix = Annotated[str, BeforeValidator(parse_url_prefix)]
UrlPath = Annotated[str, BeforeValidator(parse_url_path)]
ErrorStatus = Annotated[str, BeforeValidator(parse_error_status)]
MountPath = Annotated[str, BeforeValidator(parse_mount_path)]
SiteName = Annotated[str, BeforeValidator(parse_full_name)]
Application = Annotated[str, BeforeValidator(parse_application)]
PythonText = Annotated[str, BeforeValidator(parse_python)]
PathText = Annotated[str, BeforeValidator(parse_path)]
UidRange = Annotated[str, BeforeValidator(parse_uid_range)]
UserName = Annotated[str, BeforeValidator(parse_user)]
Variable = Annotated[str, BeforeValidator(parse_variable), WithJsonSchema({"type": ["string", "number"]})]
VariableName = Annotated[str, BeforeValidator(parse_variable_name)]
Network = Annotated[str, BeforeValidator(parse_network)]
CookieName = Annotated[str, BeforeValidator(parse_cookie_name)]
Listen = Annotated[str, BeforeValidator(parse_listen)]
