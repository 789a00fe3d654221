"""What a tenant may set in site files of its own: declared once, and judged by what comes of a file, not by its text. Pure.

The hard part is that a tenant's file is a whole site file, and each option of it that reaches beyond the site has to be
bounded: domains, users, paths, limits, guards, other sites. So what the file leaves open is filled in with what is allowed, the
site is made as any other, and then every field of the site is looked at. The same look tells whether the last good version of
a broken file may go on when the operator allows less than before.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as options_dataclass

from hostel.options.declaration import write_amount
from hostel.options.fields import (
    OF_TENANT,
    UNITS_OF_SIZE,
    UNITS_OF_TIME,
    Domain,
    Duration,
    PathText,
    Size,
    UserName,
    plain,
    reason_of,
    show,
)
from hostel.options.site import Problem, Site, default_domain, make_site, parse_table

MOST_DOMAINS = 100  # of one site: each is a file in memory

_CONFIG = ConfigDict(extra="forbid")


@options_dataclass(frozen=True, slots=True, config=_CONFIG)
class MostOptions:
    """The most that each site of the tenant may ask for, and what it has if it asks for nothing; 0 sets no bound."""

    memory: Annotated[Size, Field(description="limits.memory.", examples=["1G"])] = 512 * 2**20
    cpu: Annotated[float, Field(ge=0, le=4096, description="limits.cpu.", examples=[0.5])] = 1.0
    processes: Annotated[int, Field(strict=True, ge=0, le=2**22, description="limits.processes.", examples=[50])] = 200
    files: Annotated[int, Field(strict=True, ge=64, le=2**20, description="limits.files.", examples=[1024])] = 4096
    file_size: Annotated[Size, Field(description="limits.file_size.", examples=["100M"])] = 2**30
    request: Annotated[Duration, Field(gt=0, description="limits.request.", examples=["60s"])] = 300.0
    workers: Annotated[int, Field(strict=True, ge=1, le=256, description="workers.max.", examples=[2])] = 4
    awake: Annotated[int, Field(strict=True, ge=0, le=256, description="workers.min.", examples=[1])] = 0
    threads: Annotated[int, Field(strict=True, ge=1, le=128, description="workers.threads.", examples=[4])] = 16
    tmp: Annotated[Size, Field(ge=2**20, description="guard.tmp.", examples=["64M"])] = 256 * 2**20
    cache: Annotated[Size, Field(description="cache.size.", examples=["1G"])] = 64 * 2**20


BOUNDS = {  # option of the tenant's [most] -> table and option of a site file
    "memory": ("limits", "memory"),
    "cpu": ("limits", "cpu"),
    "processes": ("limits", "processes"),
    "files": ("limits", "files"),
    "file_size": ("limits", "file_size"),
    "request": ("limits", "request"),
    "workers": ("workers", "max"),
    "awake": ("workers", "min"),
    "threads": ("workers", "threads"),
    "tmp": ("guard", "tmp"),
    "cache": ("cache", "size"),
}


@options_dataclass(frozen=True, slots=True, config=_CONFIG)
class TenantOptions:
    """What the operator says about a tenant."""

    user: Annotated[
        UserName | None,
        Field(
            description="The system user who owns the tenant's site files, and whom its sites run as. Default: the file's name.",
            examples=["alice"],
        ),
    ] = None
    folder: Annotated[
        PathText, Field(description="The folder of the tenant's site files.", examples=["/home/alice/hostel"])
    ] = ""
    domains: Annotated[
        tuple[Domain, ...],
        Field(
            description="The domains that its sites may have; '*.name' is every name below one. NAME.TENANT.localhost always.",
            examples=[["alice.example.com", "*.alice.example.com"]],
        ),
    ] = ()
    paths: Annotated[
        tuple[PathText, ...],
        Field(
            description="Folders in which all lies that its site files name: code, virtualenvs, static files, certificates.",
            examples=[["/home/alice"]],
        ),
    ] = ()
    environments: Annotated[
        tuple[PathText, ...],
        Field(
            description="Folders of virtualenvs that its sites may run in, besides those in paths.",
            examples=[["/opt/environments"]],
        ),
    ] = ()
    sites: Annotated[
        int, Field(strict=True, ge=0, le=1000, description="How many sites it may have.", examples=[3])
    ] = 10
    most: Annotated[MostOptions, Field(description="The most that each of its sites may ask for.")] = MostOptions()


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant as the operator wants it; all paths are absolute."""

    name: str
    file: str
    user: str
    folder: str
    domains: tuple[str, ...]
    paths: tuple[str, ...]
    environments: tuple[str, ...]
    sites: int
    most: MostOptions


_adapter: TypeAdapter[TenantOptions] = TypeAdapter(TenantOptions)


def read_tenant(name: str, file: str, data: bytes) -> tuple[Tenant | None, list[Problem]]:
    """The tenant that the bytes of the operator's file describe, or every problem that they have."""
    shown = f"{name}{OF_TENANT}"
    table, _, complaint = parse_table(data)
    if complaint is not None:
        return None, [Problem(shown, file, *complaint)]
    try:
        options = _adapter.validate_python(table)
    except ValidationError as error:
        found = []
        for detail in error.errors(include_url=False)[:50]:
            key = ".".join(plain(str(part), 100) for part in detail["loc"] if not str(part).startswith("function-"))
            found.append(Problem(shown, file, key, reason_of(dict(detail)), "see: hostel serve --help, --tenants"))
        return None, found
    user = options.user or name
    if missing := [key for key in ("folder", "paths") if not getattr(options, key)]:
        remedy = f'as in: folder = "/home/{name}/hostel", paths = ["/home/{name}"]'
        return None, [Problem(shown, file, key, "has to be said: it has no default", remedy) for key in missing]
    paths = {"folder": (options.folder,), "paths": options.paths, "environments": options.environments}
    relative = [
        Problem(shown, file, key, f"{show(path)} is not an absolute path", "write it from / on")
        for key, some in paths.items()
        for path in some
        if not os.path.isabs(path) or os.path.normpath(path) == "/"
    ]
    if relative:
        return None, relative
    places, environments = (tuple(map(os.path.normpath, some)) for some in (options.paths, options.environments))
    folder = os.path.normpath(options.folder)
    return Tenant(name, file, user, folder, options.domains, places, environments, options.sites, options.most), []


def read_tenant_site(tenant: Tenant, name: str, file: str, data: bytes) -> tuple[Site | None, list[Problem]]:
    """The site that the bytes of a tenant's site file describe, or every problem that they have.

    ``name``: the site's full name.
    """
    table, text, complaint = parse_table(data)
    if complaint is not None:
        return None, [Problem(name, file, *complaint)]
    site, problems = make_site(name, file, os.path.dirname(file), _filled(table, tenant), text)
    if site is None:
        return None, problems
    site = replace(
        site,
        user=site.user or tenant.user,
        mount=tuple(
            (path, other if OF_TENANT in other else f"{tenant.name}{OF_TENANT}{other}") for path, other in site.mount
        ),
        within=(*tenant.paths, *tenant.environments),
    )
    problems = list(objections(site, tenant))
    return (None if problems else site), problems


def _filled(table: dict[str, Any], tenant: Tenant) -> dict[str, Any]:
    """The table of a site file with what is allowed where it says nothing, and by itself would have more."""
    table = dict(table)
    for bound, (section, key) in BOUNDS.items():
        most, inner = getattr(tenant.most, bound), table.get(section, {})
        if most and isinstance(inner, dict) and key not in inner and not _is_within(_DEFAULTS[section, key], most):
            table[section] = {**inner, key: most}
    return table


def _is_within(value: float, most: float) -> bool:
    """Whether a value is no more than allowed; 0 is no bound, but for the fewest workers, where it is none of them."""
    return not most or 0 < value <= most


def _default_values() -> dict[tuple[str, str], float]:
    site, _ = make_site("default", "", "/", {"static": {"/": "."}})
    assert site is not None
    return {(section, key): getattr(getattr(site, section), key) for section, key in BOUNDS.values()}


_DEFAULTS = _default_values()


def objections(site: Site, tenant: Tenant) -> Iterator[Problem]:
    """Everything in a site that its tenant may not set."""

    def refuse(where: str, reason: str, remedy: str) -> Problem:
        return Problem(site.name, site.file, where, reason, remedy)

    if site.user != tenant.user:
        yield refuse("user", f"a site of {tenant.name} runs as user {tenant.user}", "remove this line")
    for domain in site.domains:
        if not has_domain(tenant, site.name, domain):
            some = ", ".join(tenant.domains[:5]) or default_domain(site.name)
            yield refuse("domains", f"{domain} is not one of the domains of {tenant.name}", f"allowed are: {some}")
    if len(site.domains) > MOST_DOMAINS:
        yield refuse("domains", f"{len(site.domains)} domains are too many", f"at most {MOST_DOMAINS}, or a wildcard")
    for where, path in _paths(site):
        places = (*tenant.paths, *(tenant.environments if where == "environment" else ()))
        if not is_inside(path, places):
            reason = f"{path} lies outside of what {tenant.name} may name"
            yield refuse(where, reason, f"allowed is what lies in {', '.join(places)}")
    if set(site.within) - {*tenant.paths, *tenant.environments}:
        yield refuse("", "it was allowed more paths than it is now", "save the file once more")
    for bound, (section, key) in BOUNDS.items():
        most, value = getattr(tenant.most, bound), getattr(getattr(site, section), key)
        if not (value <= most if bound == "awake" else _is_within(value, most)):
            said = _write(bound, value) if value else "no limit"
            reason = f"{said} is more than {tenant.name} may have"
            yield refuse(f"{section}.{key}", reason, f"at most {_write(bound, most)}")
    for key in ("files", "processes", "ipc", "system_calls", "privileges"):
        if not getattr(site.guard, key):
            yield refuse(f"guard.{key}", "a tenant cannot switch off a guard", "remove this line")
    if site.guard.level not in (None, "full"):
        yield refuse("guard.level", "a tenant cannot lower its guards", "remove this line")


def _write(bound: str, value: float) -> str:
    """A value as a site file has it."""
    units = UNITS_OF_SIZE if bound in ("memory", "file_size", "tmp", "cache") else UNITS_OF_TIME
    return write_amount(value, units) if bound == "request" or units is UNITS_OF_SIZE else f"{value:g}"


def has_domain(tenant: Tenant, name: str, domain: str) -> bool:
    """Whether a site of the tenant may have a domain, which may be a wildcard itself."""
    if domain == default_domain(name) or domain in tenant.domains:
        return True
    bare = domain.removeprefix("*.")
    return domain != "*" and any(one.startswith("*.") and bare.endswith(one[1:]) for one in tenant.domains)


def is_inside(path: str, places: Iterable[str]) -> bool:
    """Whether a path without '..' is one of these or lies below one. Links are not looked at: they may change."""
    return any(path == place or path.startswith(os.path.join(place, "")) for place in places)


def _paths(site: Site) -> Iterator[tuple[str, str]]:
    """All paths that a site names, with the option that does."""
    yield "directory", site.directory
    if site.environment is not None:
        yield "environment", site.environment
    for path in site.reload_on:
        yield "reload_on", path
    for where, mappings in (("static", site.static), ("private", site.private), ("errors", site.errors)):
        for key, path in mappings:
            yield f"{where}.{key}", path
    for path in site.guard.writable:
        yield "guard.writable", path
    for where, one in (("tls.certificate", site.tls.certificate), ("tls.key", site.tls.key)):
        if one is not None:
            yield where, one
    for path in dict(site.env).get("PYTHONPATH", "").split(os.pathsep):
        if path:
            yield "env.PYTHONPATH", os.path.normpath(os.path.join(site.directory, path))
