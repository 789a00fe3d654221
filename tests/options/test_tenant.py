"""What a tenant may set in site files of its own, and everything that it may not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hostel.options.site import Problem, Site
from hostel.options.tenant import Tenant, objections, read_tenant, read_tenant_site
from hostel.plan import Plan, SiteFile, make_plan

OPERATOR = b"""
folder = "/home/alice/hostel"
paths = ["/home/alice"]
environments = ["/opt/environments"]
domains = ["alice.example.com", "*.alice.example.com"]
sites = 2
[most]
memory = "256M"
workers = 2
"""
APP = 'app = "app:application"\n'


def alice(text: bytes = OPERATOR) -> Tenant:
    tenant, problems = read_tenant("alice", "/etc/hostel/tenants/alice.toml", text)
    assert tenant is not None, problems
    return tenant


def read(text: str, tenant: Tenant | None = None) -> tuple[Site | None, list[Problem]]:
    return read_tenant_site(tenant or alice(), "alice+blog", "/home/alice/hostel/blog.toml", (APP + text).encode())


def good(text: str = "", tenant: Tenant | None = None) -> Site:
    site, problems = read(text, tenant)
    assert site is not None, problems
    return site


def test_a_site_of_a_tenant() -> None:
    site = good('directory = "../blog"\ndomains = ["blog.alice.example.com"]\n')
    assert (site.name, site.user, site.directory) == ("alice+blog", "alice", "/home/alice/blog")
    assert site.domains == ("blog.alice.example.com",)
    assert site.within == ("/home/alice", "/opt/environments")
    assert (site.limits.memory, site.limits.cpu, site.limits.processes, site.workers.max) == (2**28, 1.0, 200, 2)
    assert good("[limits]\nmemory = '64M'\n[workers]\nmax = 1\n").limits.memory == 2**26
    assert good().domains == ("blog.alice.localhost",)


@pytest.mark.parametrize(
    "domain",
    ["alice.example.com", "x.alice.example.com", "a.b.alice.example.com", "*.alice.example.com",
     "*.b.alice.example.com", "blog.alice.localhost", "ALICE.example.com."],
)  # fmt: skip
def test_domains_that_are_its_own(domain: str) -> None:
    assert good(f"domains = ['{domain}']\n")


@pytest.mark.parametrize(
    ("text", "where", "reason"),
    [
        ("domains = ['bob.example.com']", "domains", "bob.example.com is not one of the domains of alice"),
        ("domains = ['*']", "domains", "* is not one"),
        ("domains = ['*.example.com']", "domains", "*.example.com is not one"),
        ("domains = ['xalice.example.com']", "domains", "xalice"),
        ("domains = ['other.alice.localhost']", "domains", "other.alice.localhost"),
        ("domains = ['blog.bob.localhost']", "domains", "blog.bob.localhost"),
        ("domains = ['alice.example.com', 'evil.test']", "domains", "evil.test"),
        (f"domains = {[f'a{number}.alice.example.com' for number in range(101)]}", "domains", "101 domains are too many"),
        ("user = 'bob'", "user", "runs as user alice"),
        ("user = 'hostel'", "user", "runs as user alice"),
        ("directory = '/home/bob'", "directory", "/home/bob lies outside"),
        ("directory = '../../bob'", "directory", "/home/bob lies outside"),
        ("directory = '/home/alice2'", "directory", "/home/alice2 lies outside"),
        ("directory = '/home/alice/../bob'", "directory", "/home/bob lies outside"),
        ("directory = '/'", "directory", "/ lies outside"),
        ("directory = '/opt/environments'", "directory", "lies outside"),
        ("environment = '/root/venv'", "environment", "/root/venv lies outside"),
        ("reload_on = ['/home/bob/app.py']", "reload_on", "lies outside"),
        ("[static]\n'/a/' = '/etc'", "static./a", "/etc lies outside"),
        ("[static]\n'/a/' = '../../../etc'", "static./a", "/etc lies outside"),
        ("[private]\n'/a/' = '/var/lib/hostel/sites'", "private./a", "lies outside"),
        ("[errors]\n503 = '/etc/shadow'", "errors.503", "/etc/shadow lies outside"),
        ("[tls]\ncertificate = '/etc/a.pem'\nkey = '/etc/b.pem'", "tls.certificate", "lies outside"),
        ("[env]\nPYTHONPATH = 'lib:/home/bob/lib'", "env.PYTHONPATH", "/home/bob/lib lies outside"),
        ("[guard]\nwritable = ['/srv']", "guard.writable", "/srv lies outside"),
        ("[guard]\nlevel = 'none'", "guard.level", "cannot lower"),
        ("[guard]\nlevel = 'user'", "guard.level", "cannot lower"),
        *[(f"[guard]\n{key} = false", f"guard.{key}", "cannot switch off")
          for key in ("files", "processes", "ipc", "system_calls", "privileges")],
        ("[guard]\ntmp = '1G'", "guard.tmp", "more than alice may have"),
        ("[limits]\nmemory = '512M'", "limits.memory", "more than alice may have"),
        ("[limits]\nmemory = 0", "limits.memory", "no limit is more than alice may have"),
        ("[limits]\ncpu = 0", "limits.cpu", "no limit"),
        ("[limits]\nprocesses = 1000", "limits.processes", "more than"),
        ("[limits]\nprocesses = 0", "limits.processes", "no limit"),
        ("[limits]\nfiles = 5000", "limits.files", "more than"),
        ("[limits]\nfile_size = 0", "limits.file_size", "no limit"),
        ("[limits]\nrequest = '1h'", "limits.request", "more than"),
        ("[workers]\nmax = 3", "workers.max", "more than"),
        ("[workers]\nmin = 1", "workers.min", "more than"),
        ("[workers]\nthreads = 100", "workers.threads", "more than"),
        ("[cache]\non = true\nsize = '1G'", "cache.size", "more than"),
    ],
)  # fmt: skip
def test_what_it_may_not(text: str, where: str, reason: str) -> None:
    site, problems = read(text)
    assert site is None
    found = [problem for problem in problems if problem.where.startswith(where)]
    assert found and reason in found[0].reason, problems
    assert all(problem.remedy and problem.site == "alice+blog" for problem in problems)


def test_everything_that_is_refused_is_said_at_once() -> None:
    _, problems = read("user = 'root'\ndomains = ['evil.test']\ndirectory = '/'\n[limits]\nmemory = '1G'\n")
    assert [problem.where for problem in problems] == ["user", "domains", "directory", "limits.memory"]


def test_names_of_other_sites_are_its_own_unless_said() -> None:
    assert good("[mount]\n'/shop' = 'shop'\n'/b' = 'bob+shop'\n").mount == (("/b", "bob+shop"), ("/shop", "alice+shop"))
    assert read("[mount]\n'/shop' = 'a+b+c'\n")[0] is None


def test_bounds_of_nothing_are_none() -> None:
    free = replace(alice(), most=replace(alice().most, memory=0, cpu=0))
    assert good("[limits]\nmemory = 0\n", free).limits.memory == 0
    assert good("", free).limits.memory == 0


@pytest.mark.parametrize(
    ("text", "where", "reason"),
    [
        (b"paths = ['/home/alice']", "folder", "has to be said"),
        (b"folder = '/home/alice/hostel'", "paths", "has to be said"),
        (b"folder = 'hostel'\npaths = ['/home/alice']", "folder", "not an absolute path"),
        (b"folder = '/h'\npaths = ['/']", "paths", "not an absolute path"),
        (b"folder = '/h'\npaths = ['/home/..']", "paths", "not an absolute path"),
        (b"folder = '/h'\npaths = ['/a']\nnothing = 1", "nothing", "unknown option"),
        (b"folder = '/h'\npaths = ['/a']\n[most]\nmemory = 'much'", "most.memory", "give a number of bytes"),
        (b"folder = ", "line 1", "not TOML"),
    ],
)
def test_what_is_wrong_with_an_operator_s_file(text: bytes, where: str, reason: str) -> None:
    tenant, problems = read_tenant("alice", "/etc/hostel/tenants/alice.toml", text)
    assert tenant is None
    assert problems[0].where.startswith(where) and reason in problems[0].reason
    assert problems[0].site == "alice+"


def plan(current: Plan, *files: SiteFile) -> Plan:
    return make_plan({file.name: file for file in files}, current)


def of(site: Site | None, tenant: Tenant) -> SiteFile:
    return SiteFile("alice+blog", "/home/alice/hostel/blog.toml", site, (), tenant)


def test_the_last_good_version_goes_on_only_while_it_is_allowed() -> None:
    tenant = alice()
    current = plan(Plan(), of(good("domains = ['alice.example.com']\n"), tenant))
    assert plan(current, of(None, tenant)).sites == current.sites
    assert plan(current, of(None, replace(tenant, domains=()))).sites == {}
    assert plan(current, of(None, replace(tenant, paths=("/srv/alice",)))).sites == {}
    assert plan(current, of(None, replace(tenant, most=replace(tenant.most, memory=2**20)))).sites == {}
    assert plan(current, SiteFile("alice+blog", "", None)).sites == {}, "of no tenant that is known"


def test_the_operator_s_sites_take_a_domain_from_a_tenant_s() -> None:
    site = good("domains = ['alice.example.com', 'b.alice.example.com']\n")
    current = plan(Plan(), of(site, alice()))
    own = replace(site, name="zoo", within=(), domains=("alice.example.com",))
    result = plan(current, of(site, alice()), SiteFile("zoo", "/sites/zoo.toml", own))
    assert result.owners == {"alice.example.com": "zoo", "b.alice.example.com": "alice+blog"}
    assert "belongs to site zoo" in result.problems["alice+blog"][0].reason


def test_a_site_that_is_allowed_has_no_objections() -> None:
    assert list(objections(good(), alice())) == []
