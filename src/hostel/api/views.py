"""What leaves the manager, and what the command line prints for programs: plain values with stable names.

Each field is declared once, with its type and its sentence; the JSON reference is made from that. A field keeps its name
and meaning; new ones may come. This module knows frozen values and plain numbers only, nothing of the manager's insides.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from hostel.options.site import Problem

FORMAT = 1


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A process that runs one site's code."""

    number: Annotated[int, "its number within the site; none is given twice"]
    generation: Annotated[int, "the generation it belongs to: the code and the site file that it has loaded"]
    pid: Annotated[int, "its process id; 0 until it has been forked"]
    phase: Annotated[str, '"ordered" (on its way), "ready" (takes requests) or "leaving" (finishes what it has)']
    busy: Annotated[int, "requests that it runs now"]
    served: Annotated[int, "requests that it has answered"]
    memory: Annotated[
        int, "bytes that it has for itself, and its part of what it shares with others; 0 until it has been weighed"
    ]
    ready_after: Annotated[float, "seconds from the order to start it until it was ready; 0 before"]


@dataclass(frozen=True, slots=True)
class RequestView:
    """A request that a worker ran when it ended, or had answered last."""

    method: Annotated[str, "its method"]
    url: Annotated[str, "its path and query, the beginning of long ones"]
    id: Annotated[str, "its id, as in the access log and the error log"]
    age: Annotated[float, "seconds that it had run, or since it last showed progress; 0 when it was over"]


@dataclass(frozen=True, slots=True)
class DeathView:
    """The end of a worker that was not told to leave."""

    time: Annotated[float, "when, in seconds since the epoch"]
    worker: Annotated[str, 'which, as "generation.number"']
    pid: Annotated[int, "its process id"]
    age: Annotated[float, "seconds since it was ready; 0 when it never was"]
    reason: Annotated[str, "why, as a sentence"]
    signal: Annotated[str, 'the signal that ended it, as "SIGSEGV"; empty when it exited']
    status: Annotated[int, "its exit status; 0 when a signal ended it"]
    out_of_memory: Annotated[bool, "whether the kernel has ended it because memory ran out"]
    requests: Annotated[Sequence[RequestView], "what it ran; or what it ran last"]


@dataclass(frozen=True, slots=True)
class ProblemView:
    """One thing that is wrong with a site, and what to do about it."""

    kind: Annotated[
        str, '"file" (found in its site file, or by looking at what that names) or "worker" (a start or a death)'
    ]
    site: Annotated[str, "the site's name; empty for a problem of the folder of site files"]
    reason: Annotated[str, "what is wrong, as a sentence"]
    hint: Annotated[str, "what to do now; may be empty"]
    is_fatal: Annotated[bool, "whether it keeps the site, or the newest version of it, from running"] = True
    file: Annotated[str, "kind file: the path of the site file"] = ""
    where: Annotated[str, 'kind file: the place in it, as "workers.max (line 4)"; empty for the file as a whole'] = ""
    id: Annotated[str, "kind worker: what visitors are shown instead of the reason"] = ""
    time: Annotated[float, "kind worker: when it happened, in seconds since the epoch"] = 0.0
    step: Annotated[str, "kind worker: the step of the start that failed, or where the worker died"] = ""
    traceback: Annotated[str, "kind worker: Python's traceback, if there is one"] = ""
    output: Annotated[str, "kind worker: the end of what the worker wrote"] = ""
    steps: Annotated[Sequence[Any], "kind worker: the steps of the start, each as [name, seconds since the fork]"] = ()


@dataclass(frozen=True, slots=True)
class SiteView:
    """A site: what its file says, and what it is doing."""

    name: Annotated[str, "its name, which is the name of its site file"]
    state: Annotated[
        str,
        '"cold", "starting", "serving", "draining", "failed", "disabled" or "paused"; "invalid" when its file is broken and no '
        "earlier version of it is known",
    ]
    since: Annotated[float, "when it came into this state, in seconds since the epoch; 0 when invalid"]
    resumes: Annotated[
        float,
        "when it goes on by itself if it is paused, or is tried again if it has failed, in seconds since the epoch; else 0",
    ]
    generation: Annotated[int, "the generation that serves, else the newest; 0 before the first start"]
    interface: Annotated[str, '"wsgi", "asgi" or "static"; empty until its first start has told']
    domains: Annotated[Sequence[str], "the host names that are routed to it"]
    urls: Annotated[Sequence[str], "where a browser on this machine finds it, one for each domain"]
    mounts: Annotated[Mapping[str, str], "the other sites under paths of this one: path in URLs to site"]
    file: Annotated[str, "the path of its site file, or of the project"]
    directory: Annotated[str, "the folder that it works in"]
    user: Annotated[str, "the system user that its workers run as"]
    log_dir: Annotated[str, "the folder of its error.log and access.log"]
    guards: Annotated[Sequence[str], "what keeps it from others; hostel explain tells what each is, and which are off"]
    workers: Annotated[Sequence[WorkerView], "its workers"]
    wanted: Annotated[int, "how many workers its load wants; 0 when it does not serve"]
    waiting: Annotated[int, "requests that wait in its queue"]
    served: Annotated[int, "requests that its workers have answered since the manager started"]
    replaced: Annotated[
        str, 'which worker was replaced last by a fresh one, and why, as in "worker 1.3 after 10,000 requests"'
    ]
    replaced_at: Annotated[float, "when, in seconds since the epoch; 0 when none was"]
    deaths: Annotated[
        Sequence[DeathView], "how its workers ended that were not told to: the last ten, the newest first"
    ]
    problems: Annotated[Sequence[ProblemView], "what is wrong with it; a successful start clears those of workers"]


@dataclass(frozen=True, slots=True)
class ZygoteView:
    """A process that forks the workers of one environment."""

    environment: Annotated[str, "the virtualenv, or the prefix of the Python that Hostel runs in"]
    user: Annotated[str, "the system user it runs as"]
    pid: Annotated[int, "its process id; 0 until it has been started"]
    workers: Annotated[int, "workers that it has forked and that are alive"]
    preloaded: Annotated[int, "modules that it has imported for them"]
    state: Annotated[
        str, '"current" (takes orders), "importing" (will take over) or "retired" (ends with its last worker)'
    ]


@dataclass(frozen=True, slots=True)
class EnvironmentView:
    """What sites run in: a virtualenv, or a Python of the machine."""

    path: Annotated[str, "the virtualenv, or the interpreter, or the prefix of the Python that Hostel runs in"]
    sites: Annotated[Sequence[str], "the sites that run in it"]
    zygotes: Annotated[Sequence[ZygoteView], "the processes that fork workers in it"]
    learned: Annotated[Sequence[str], "modules that its sites were seen to import, other than their own"]
    tried: Annotated[bool, "whether a zygote has tried to import them"]
    imported: Annotated[Sequence[str], "those that it has imported then"]
    refused: Annotated[Mapping[str, str], "others, each with what was against it in the trial"]
    seconds: Annotated[float, "how long all that took"]
    python: Annotated[str, "the interpreter that it stands on"] = ""
    version: Annotated[str, 'its version, as "3.13"; empty when that cannot be told'] = ""
    size: Annotated[int, "bytes that its files take on the disk; 0 for an interpreter itself"] = 0
    source: Annotated[str, "the file that hostel env has made it from; empty when something else has made it"] = ""
    problem: Annotated[str, "what is wrong with it; empty when nothing is"] = ""


@dataclass(frozen=True, slots=True)
class EnvironmentsView:
    """The environments in use."""

    environments: Annotated[Sequence[EnvironmentView], "all that a site runs in"]


@dataclass(frozen=True, slots=True)
class MadeView:
    """A virtualenv that has been made."""

    path: Annotated[str, "where it is"]
    python: Annotated[str, "the interpreter that it stands on"]
    version: Annotated[str, 'its version, as "3.13"']
    size: Annotated[int, "bytes that its files take on the disk"]
    source: Annotated[str, "the file that it was made from"]
    reloaded: Annotated[Sequence[str], "the sites that were reloaded, because they run in it"]


@dataclass(frozen=True, slots=True)
class BudgetView:
    """What the workers of all sites may take together, and what they take."""

    workers: Annotated[int, "how many may run"]
    used_workers: Annotated[int, "how many there are, those included that are starting or leaving"]
    memory: Annotated[int, "bytes of memory that they may have"]
    used_memory: Annotated[int, "bytes of memory that they have; those that have not been weighed yet are estimated"]
    minimum: Annotated[int, "how many workers the sites' minima add up to; they run even beyond the budget"]
    waiting: Annotated[int, "workers that wait until others give way"]


@dataclass(frozen=True, slots=True)
class ServerView:
    """The server's own processes, folders and options."""

    version: Annotated[str, "Hostel's version"]
    user: Annotated[str, "the system user who started it; as root, each site runs as a user of its own choice"]
    default_user: Annotated[str, "the user of sites that name none"]
    users: Annotated[str, '"auto": sites that name no user have one each; "shared": they have default_user']
    user_range: Annotated[str, "the numbers of such users, FIRST-LAST"]
    supervisor: Annotated[int, "process id of the supervisor; a signal to it ends the server"]
    manager: Annotated[int, "process id of the manager"]
    front: Annotated[int, "process id of the front's nginx; 0 while it is being started"]
    front_version: Annotated[str, "which nginx that is"]
    zygotes: Annotated[Sequence[ZygoteView], "its zygotes"]
    listen: Annotated[Sequence[str], "the addresses that the front listens on"]
    listen_tls: Annotated[Sequence[str], "those where it takes HTTPS"]
    run_dir: Annotated[str, "the folder of sockets and links"]
    state_dir: Annotated[str, "the folder of what is remembered"]
    log_dir: Annotated[str, "the folder of the logs"]
    site_folders: Annotated[
        Sequence[str], "the folders of site files that it follows; empty when it serves projects only"
    ]
    least_uid: Annotated[int, "the smallest number that the user of a site may have"]
    tenants: Annotated[str, "the folder of what tenants may set in site files of their own; empty when there are none"]
    reload: Annotated[bool, "whether it follows changes of the sites' code"]
    started: Annotated[float, "when the manager started, in seconds since the epoch"]
    budget: Annotated[BudgetView, "what the workers of all sites may take together"]
    starting: Annotated[int, "workers that are starting"]
    queued_starts: Annotated[int, "workers that wait for their turn to start"]
    queued_reloads: Annotated[int, "sites that are being reloaded, or wait for their turn, in a reload of many"]


@dataclass(frozen=True, slots=True)
class StatusView:
    """What the server and its sites are doing."""

    format: Annotated[int, f"the version of this form: {FORMAT}; it changes when a field goes or gets another meaning"]
    server: Annotated[ServerView, "the server"]
    sites: Annotated[Sequence[SiteView], "the sites that were asked for, or all of them, by name"]
    problems: Annotated[Sequence[ProblemView], "what is wrong with the folders of site files themselves"]


@dataclass(frozen=True, slots=True)
class GuardView:
    """One thing that keeps a site from others, the machine and Hostel."""

    name: Annotated[
        str, '"user", "privileges", "system calls", "reach", "files", "processes", "ipc", "network" or "limits"'
    ]
    is_on: Annotated[bool, "whether it guards"]
    text: Annotated[str, "what it does, or why it does not"]


@dataclass(frozen=True, slots=True)
class ExplainView:
    """What the processes of a site become before its code runs; each step as a sentence, in the order of execution."""

    site: Annotated[str, "the site's name"]
    guards: Annotated[Sequence[GuardView], "what that is good for"]
    room: Annotated[Sequence[str], "what is done once for all its workers, by a process that runs none of its code"]
    zygote: Annotated[
        Sequence[str],
        "what the parent of its workers becomes; empty when that is Hostel's and executes nothing of the site",
    ]
    worker: Annotated[Sequence[str], "what each of its workers becomes"]


@dataclass(frozen=True, slots=True)
class StageView:
    """A part of the way from a visitor to the first byte of the answer."""

    name: Annotated[str, '"socket readable", "order", "fork", "guards", "import", "ready" or "first byte"']
    begin: Annotated[float, "when it began, in seconds since the visitor came"]
    seconds: Annotated[float, "how long it took"]
    text: Annotated[str, "what happens in it"]


@dataclass(frozen=True, slots=True)
class ImportView:
    """The import of a module that the worker's zygote had not."""

    module: Annotated[str, "its name"]
    parent: Annotated[int, "the place in this list of the module during whose import it was imported; -1 for none"]
    begin: Annotated[float, "when it began, in seconds since the fork"]
    seconds: Annotated[float, "how long it took, with all that it imported"]
    own: Annotated[float, "how long it took without those"]
    owner: Annotated[str, '"site" (its own), "package" (of its environment) or "python" (the standard library)']


@dataclass(frozen=True, slots=True)
class StartView:
    """A start that was made to be measured, with the request that it was made for."""

    site: Annotated[str, "the site's name"]
    interface: Annotated[str, '"wsgi" or "asgi"']
    path: Annotated[str, "the path that was asked for"]
    status: Annotated[int, "the HTTP status of the answer; 0 when there was none"]
    seconds: Annotated[float, "from the visitor to the first byte, or as far as it came"]
    new_zygote: Annotated[bool, "whether its zygote had to be started for it"]
    present: Annotated[int, "modules that its zygote had imported for it"]
    stages: Annotated[Sequence[StageView], "the stages in their order, as far as it came"]
    imports: Annotated[Sequence[ImportView], "its imports in the order of their beginning, at most 6,000"]
    problems: Annotated[Sequence[ProblemView], "why it has not answered"]


@dataclass(frozen=True, slots=True)
class SessionView:
    """How a command is run as a site's worker would be; for hostel exec and hostel shell, and of no use without them."""

    site: Annotated[str, "the site's name"]
    environment: Annotated[Mapping[str, str], "its environment variables"]
    room: Annotated[Sequence[Sequence[Any]], "the operations that make its namespaces"]
    worker: Annotated[Sequence[Sequence[Any]], "the operations that make the process"]
    joins_processes: Annotated[bool, "whether it has processes of its own"]
    memory: Annotated[int, "limits.memory"]
    cpu: Annotated[float, "limits.cpu"]
    processes: Annotated[int, "limits.processes"]


@dataclass(frozen=True, slots=True)
class LogsView:
    """Where the logs of a site are."""

    site: Annotated[str, "the site's name"]
    files: Annotated[
        Sequence[str], "the paths of its error.log and its access.log; each may be missing until there is a line"
    ]


@dataclass(frozen=True, slots=True)
class UpgradeView:
    """Which Hostel goes on."""

    before: Annotated[str, "the version that has made room"]
    version: Annotated[str, "the version that goes on"]
    manager: Annotated[int, "process id of the manager that makes room; the status shows the next one when it serves"]


@dataclass(frozen=True, slots=True)
class RemovedView:
    """Which sites are gone."""

    removed: Annotated[Sequence[str], "the names of the sites"]


@dataclass(frozen=True, slots=True)
class PurgedView:
    """Of which sites nothing is kept any more."""

    purged: Annotated[Sequence[str], "the names of the sites"]


@dataclass(frozen=True, slots=True)
class CheckView:
    """What is wrong with site files that need not be served."""

    files: Annotated[int, "how many site files and projects were looked at"]
    guards: Annotated[Mapping[str, Sequence[str]], "what would keep each site from others: names of guards that are on"]
    problems: Annotated[Sequence[ProblemView], "what is wrong with them"]


@dataclass(frozen=True, slots=True)
class ErrorView:
    """Why a command did not do what was asked; printed instead of its answer, with the error's exit status."""

    kind: Annotated[str, "the kind of error, from the reference of errors"]
    message: Annotated[str, 'one sentence, of the form "cannot X: why"']
    hint: Annotated[str, "what to do now; may be empty"]


def as_dict(view: Any) -> dict[str, Any]:
    """A view as plain values for JSON."""
    return asdict(view)


def view_of_problem(problem: Problem) -> ProblemView:
    """A problem of a site file as it is shown."""
    return ProblemView(
        "file", problem.site, problem.reason, problem.remedy, problem.is_fatal, problem.file, problem.where
    )


def make_urls(
    domains: Sequence[str], listen: Sequence[str], listen_tls: Sequence[str] = (), covered: Collection[str] = (), *,
    is_redirected: bool = False,
) -> list[str]:  # fmt: skip
    """Where a browser on this machine finds a site: by HTTP, and by HTTPS where it has a certificate; first what is better."""
    urls = [_make_url("http", domain, listen[0]) for domain in domains if listen]
    safe = [
        _make_url("https", domain, listen_tls[0])
        for domain in domains
        if listen_tls and ("localhost" if domain == "*" else domain) in covered
    ]
    return [*safe, *urls] if is_redirected else [*urls, *safe]


def _make_url(scheme: str, domain: str, address: str) -> str:
    host, _, port = address.rpartition(":")
    if domain == "*":
        domain = "localhost" if host in ("127.0.0.1", "0.0.0.0", "[::1]", "[::]") else host
    elif domain.startswith("*."):
        domain = f"any{domain[1:]}"
    suffix = "" if port == {"http": "80", "https": "443"}[scheme] else f":{port}"
    return f"{scheme}://{domain}{suffix}/"
