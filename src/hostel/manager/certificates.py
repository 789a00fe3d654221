"""Which certificate each domain has: read when something changes, chosen, published without a reload, and judged.

The hard part is who reads. A pair that a site file names is read by a program that has become the site's user, those of the
server's folder by one that is who the server is (``certificates.reading``). A pair that cannot be used leaves the former one
where it is, with a problem to show.

Nothing here is in a hurry, nor in anybody's way: one task looks when it has been told that something changed, and a few
times a day, because certificates end by themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hostel.certificates import reading
from hostel.certificates.development import NAMES_AT_ONCE, Authority
from hostel.certificates.pair import Complaint, Pair, choose, complain_of_time, local_names, uncovered
from hostel.errors import HostelError, PeerError, SiteError
from hostel.manager.tlstree import NO_NAME, TlsTree
from hostel.manager.watch import Watcher
from hostel.options.check import identity_of
from hostel.options.server import ServerOptions
from hostel.options.site import Problem
from hostel.plan import Plan
from hostel.sandbox.identity import Identity

PAUSE_SECONDS = 0.5  # between two looks, however often something changes
LOOK_SECONDS = 6 * 3600.0
MOST_SHARED = 1000  # pairs in the server's folder

Signature = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """Two files, and as whom they are read; None for who the server is."""

    files: reading.Files
    identity: Identity | None


class Certificates:
    """Decides what lies in ``tree``."""

    def __init__(self, options: ServerOptions, tree: TlsTree) -> None:
        self.options = options
        self.tree = tree
        self.problems: dict[str, tuple[Problem, ...]] = {}  # by site; those of the server's folder under ""
        self.settled = asyncio.Event()  # the first look is over
        self._plan = Plan()
        self._changed = asyncio.Event()
        self._watcher = Watcher(lambda paths: self._changed.set())
        self._seen: dict[Asked, tuple[Signature, Pair | Complaint]] = {}
        self._good: dict[Asked, Pair] = {}
        self._authority: Authority | None = None
        self._local: list[Pair] = []

    def refresh(self) -> None:
        """Somebody may have removed what lay in the tree: publish it anew."""
        self.tree.refresh()
        self._changed.set()

    def apply(self, plan: Plan) -> None:
        """There is another plan."""
        self._plan = plan
        self._changed.set()

    async def run(self) -> None:
        """Look whenever something has changed; never ends."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), LOOK_SECONDS)
            self._changed.clear()
            try:
                await self.look()
            except OSError as error:
                print(f"hostel: cannot publish certificates: {error}", file=sys.stderr, flush=True)
            self.settled.set()
            await asyncio.sleep(PAUSE_SECONDS)

    def close(self) -> None:
        self._watcher.close()

    async def look(self) -> None:
        """Read what has changed, and publish the pair for each domain. Raises ``OSError``."""
        plan = self._plan
        found: dict[str, list[Complaint]] = {}  # by site
        self._watcher.watch(self._places(plan))  # first: what changes from now on is looked at again
        own = self._own_files(plan, found)
        shared = {path: Asked(files, None) for path, files in self._shared_files(found)}
        asked = {*own.values(), *shared.values()}
        await self._read(asked)
        mine = {site: pair for site, one in own.items() if (pair := self._good.get(one))}
        common = [self._good[one] for one in shared.values() if one in self._good]
        chosen = choose(plan.owners, mine, common)
        names = dict(chosen)
        if local := local_names(plan.owners, chosen):
            names.update(self._issue(local))
        if "default" in shared and shared["default"] in self._good:
            names[NO_NAME] = self._good[shared["default"]]
        failed = {site for site, one in own.items() if one not in self._good}
        is_shared_broken = "" in found or any(one not in self._good for one in shared.values())
        self.tree.publish(names, {domain for domain, site in plan.owners.items() if site in failed or is_shared_broken})
        self._complain(plan, own, shared, names, found)

    # --- what to read -----------------------------------------------------------------------------------------------

    def _places(self, plan: Plan) -> set[str]:
        """The folders of all pairs, of what links lead to, and those where a pair may come to be."""
        places = set()
        if folder := self.options.certificates:
            places.add(folder)
            with contextlib.suppress(OSError), os.scandir(folder) as entries:
                places |= {entry.path for entry in itertools.islice(entries, MOST_SHARED) if entry.is_dir()}
        for site in plan.sites.values():
            for path in (site.tls.certificate, site.tls.key):
                if path is not None:
                    places |= {os.path.dirname(path), os.path.dirname(os.path.realpath(path))}
        return places

    def _own_files(self, plan: Plan, found: dict[str, list[Complaint]]) -> dict[str, Asked]:
        """The files that sites name, each to be read as the site's user."""
        own = {}
        for name, site in plan.sites.items():
            if site.tls.certificate is not None and site.tls.key is not None:
                try:
                    identity = identity_of(site, self.options) if os.geteuid() == 0 else None
                except SiteError as error:
                    found.setdefault(name, []).append(Complaint("certificate", str(error), error.hint))
                else:
                    own[name] = Asked((site.tls.certificate, site.tls.key), identity)
        return own

    def _shared_files(self, found: dict[str, list[Complaint]]) -> Iterable[tuple[str, reading.Files]]:
        """The pairs in the server's folder, by name."""
        folder = self.options.certificates
        if folder is None:
            return
        try:
            entries = sorted(os.listdir(folder))
        except OSError as error:
            found[""] = [Complaint("certificate", f"cannot read {folder}: {error.strerror}", "correct --certificates")]
            return
        for entry in entries[:MOST_SHARED]:
            path = os.path.join(folder, entry)
            name, suffix = os.path.splitext(path)
            if os.path.exists(os.path.join(path, "fullchain.pem")):
                yield entry, (os.path.join(path, "fullchain.pem"), os.path.join(path, "privkey.pem"))
            elif suffix in (".pem", ".crt") and os.path.exists(f"{name}.key"):
                yield os.path.basename(name), (path, f"{name}.key")

    async def _read(self, asked: set[Asked]) -> None:
        """Read what is new or has changed."""
        for gone in self._seen.keys() - asked:
            del self._seen[gone]
            self._good.pop(gone, None)
        stale: dict[Identity | None, list[tuple[Asked, Signature]]] = {}
        for one in asked:
            signature = tuple(map(signature_of, one.files))
            if one not in self._seen or self._seen[one][0] != signature:
                stale.setdefault(one.identity, []).append((one, signature))
        for identity, all_of_his in stale.items():
            for begin in range(0, len(all_of_his), reading.AT_ONCE):
                some = all_of_his[begin : begin + reading.AT_ONCE]
                answers = await ask(identity, [one.files for one, _ in some])
                for (one, signature), answer in zip(some, answers, strict=True):
                    self._seen[one] = signature, answer
                    if isinstance(answer, Pair):
                        self._good[one] = answer

    def _issue(self, names: Sequence[str]) -> dict[str, Pair]:
        """Certificates of our own for names below localhost."""
        until = time.time() + 86400
        self._local = [pair for pair in self._local if pair.ends > until]
        have = {name: pair for pair in self._local for name in pair.names}
        new = [name for name in names if name not in have]
        try:
            if new and self._authority is None:
                self._authority = Authority(os.path.join(self.options.state_dir, "tls"))
            for begin in range(0, len(new), NAMES_AT_ONCE):
                assert self._authority is not None
                pair = self._authority.issue(new[begin : begin + NAMES_AT_ONCE])
                self._local.append(pair)
                have |= dict.fromkeys(pair.names, pair)
        except HostelError as error:
            print(f"hostel: {error}", file=sys.stderr, flush=True)
        found = {name: have[name] for name in names if name in have}
        if found and all(address.startswith(("127.", "[::1]")) for address in self.options.listen_tls):
            found[NO_NAME] = next(iter(found.values()))
        return found

    # --- what to say ------------------------------------------------------------------------------------------------

    def _complain(
        self, plan: Plan, own: Mapping[str, Asked], shared: Mapping[str, Asked], names: Mapping[str, Pair],
        found: dict[str, list[Complaint]],
    ) -> None:  # fmt: skip
        """Renew ``problems``, and say what is new among them."""
        now = time.time()
        for name, one in [*own.items(), *(("", one) for one in shared.values())]:
            answer = self._seen[one][1]
            complaint = complain_of_time(answer, now) if isinstance(answer, Pair) else answer
            if complaint is not None:
                found.setdefault(name, []).append(complaint)
        for name, site in plan.sites.items():
            if (name in own or site.tls.redirect) and (missing := uncovered(site.domains, names)) and name not in found:
                more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
                reason = f"there is no certificate for {missing[0]}{more}"
                remedy = "get one that has this name; a browser shows the site by HTTPS only with it"
                found.setdefault(name, []).append(
                    Complaint("certificate" if name in own else "redirect", reason, remedy)
                )
        problems = {}
        for name, complaints in found.items():
            file = plan.sites[name].file if name else str(self.options.certificates)
            problems[name] = tuple(
                Problem(name, file, f"tls.{one.which}" if name else "", one.reason, one.remedy, is_fatal=False)
                for one in complaints
            )
        for name, told in problems.items():
            for problem in told:
                if problem not in self.problems.get(name, ()):
                    print(f"site={name or '-'} certificate problem: {problem}", file=sys.stderr, flush=True)
        self.problems = problems


async def ask(identity: Identity | None, files: Sequence[reading.Files]) -> list[Pair | Complaint]:
    """What the reading program finds out about pairs, as whoever may read them."""
    program = await asyncio.create_subprocess_exec(
        *reading.COMMAND, env=reading.ENVIRONMENT, cwd="/",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert program.stdin and program.stdout
    try:
        async with asyncio.timeout(reading.SECONDS):
            program.stdin.write(reading.make_question(identity, files))
            program.stdin.close()
            answer = await read_all(program.stdout)
        return reading.read_answer(answer, len(files))
    except (TimeoutError, PeerError, OSError) as error:
        who = f" as user {identity.name}" if identity else ""
        reason = f"cannot look at it{who}: {error or 'it took too long'}"
        return [Complaint("certificate", reason, "the server's log may say more")] * len(files)
    finally:
        if program.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                program.kill()
            await program.wait()


async def read_all(stream: asyncio.StreamReader) -> bytes:
    """What comes until the end, or a little more than an answer may have."""
    try:
        return await stream.readexactly(reading.ANSWER_BYTES + 1)
    except asyncio.IncompleteReadError as error:
        return error.partial


def signature_of(path: str) -> tuple[int, ...]:
    """What changes when a file does, or what the path leads to."""
    try:
        status = os.stat(path)
    except OSError as error:
        return (error.errno or 0,)
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev
