"""A server with a tenant that runs any code it is sent, and a victim beside it: what the attacks are played on."""

from __future__ import annotations

import shutil
import subprocess
import textwrap
from pathlib import Path
from typing import Any

from tests.hostile.native import compile_native
from tests.support.server import Server, make_folder

TENANT = """
    import json, os, traceback
    def application(environ, start_response):
        code = environ["wsgi.input"].read().decode()
        names = {}
        try:
            exec(code, names)
            answer = {"result": names.get("result")}
        except Exception:
            answer = {"result": None, "error": traceback.format_exc()}
        start_response("200 OK", [])
        return [json.dumps(answer).encode()]
"""
VICTIM = """
    import ctypes, os, socket, subprocess
    SECRET = "the victim's secret"
    os.environ["VICTIM_SECRET"] = SECRET
    for path in ("/tmp/victim-left-this", os.environ["STATE_DIRECTORY"] + "/secret", "/dev/shm/victim-left-this"):
        with open(path, "w") as file:
            file.write(SECRET)
        os.chmod(path, 0o644)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind("\\0hostel-victim-" + os.environ["MARK"])
    listener.listen()
    ctypes.CDLL(None).shmget(int(os.environ["MARK"]), 4096, 0o1666)
    sleeper = subprocess.Popen(["sleep", "3600.5"])
    def application(environ, start_response):
        start_response("200 OK", [])
        return [f"{os.getpid()} {sleeper.poll()}".encode()]
"""


class Stage:
    """A server at one level with a tenant and a victim, which are different users."""

    def __init__(self, level: str) -> None:
        self.level = level
        self.homes = make_folder()  # each tenant's folder below a common one, as /home is
        self.server = Server(make_folder(), guard=level, arguments=("--hide", str(self.homes)))
        self.homes.chmod(0o755)
        self.open = Path(f"/run/hostel-test-{self.server.port}")  # for everybody, as /run/lock is

    def start(self) -> Stage:
        self.server.start()
        self.open.mkdir()
        self.open.chmod(0o1777)
        shutil.copy("/usr/bin/id", self.open / "id")
        shutil.chown(self.open / "id", "hostel")
        (self.open / "id").chmod(0o4755)
        compile_native(self.open / "native")
        users = {"tenant": "nobody", "victim": "hostel"}
        for name, code in (("tenant", TENANT), ("victim", VICTIM)):
            folder = self.homes / name
            folder.mkdir(mode=0o755)
            (folder / "app.py").write_text(textwrap.dedent(code))
            (folder / "open-to-all").write_text("the victim's secret")
            shutil.chown(folder, users[name])
            self.server.site(
                name, None, app="app:application", directory=str(folder), user=users[name],
                env={"MARK": str(self.server.port)}, workers={"min": 1},
            )  # fmt: skip
            self.server.wait_state(name, "serving")
        assert self.server.get("victim").text.endswith("None")
        return self

    def attack(self, code: str) -> Any:
        server = self.server
        values = {
            "VICTIM_PID": server.workers("victim")[0],
            "MANAGER_PID": server.status()["server"]["manager"],
            "HOMES": str(self.homes),
            "OPEN": str(self.open),
            "RUN": str(server.run_dir),
            "STATE": str(server.state_dir),
            "LOG": str(server.log_dir),
            "MARK": str(server.port),
        }
        text = "".join(f"{name} = {value!r}\n" for name, value in values.items()) + textwrap.dedent(code)
        answer = server.get("tenant", "/", method="POST", body=text.encode()).json()
        return answer

    def end(self) -> None:
        try:
            self.server.stop()
        finally:
            self.server.kill()
            subprocess.run(["ipcrm", "-M", str(self.server.port)], capture_output=True, check=False)
            for path in ("/tmp/victim-left-this", "/dev/shm/victim-left-this"):
                Path(path).unlink(missing_ok=True)
            shutil.rmtree(self.open, ignore_errors=True)
            shutil.rmtree(self.server.folder, ignore_errors=True)
            shutil.rmtree(self.homes, ignore_errors=True)
