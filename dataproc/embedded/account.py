"""Under which account the embedded PostgreSQL runs: PostgreSQL refuses to run as root."""

import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from dataproc.domain.errors import SetupError

NAME = "dataproc"


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the operating system; `switch` says whether we have to become it."""

    uid: int
    gid: int
    switch: bool

    @classmethod
    def current(cls) -> "Account":
        """Return our own account; for root that of the user `dataproc`, which is made if it is missing."""
        if os.geteuid() != 0:
            return cls(os.geteuid(), os.getegid(), switch=False)
        entry = service_user()
        return cls(entry.pw_uid, entry.pw_gid, switch=True)

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a program as this account, in a folder and a language that it surely has."""
        return subprocess.run(  # noqa: S603 - PostgreSQL's own programs, without a shell
            [str(part) for part in command],
            user=self.uid if self.switch else None,
            group=self.gid if self.switch else None,
            extra_groups=[] if self.switch else None,
            cwd="/",
            env=os.environ | {"LC_ALL": "C"},
            text=True,
            capture_output=True,
            check=False,
        )

    def make_folder(self, path: Path) -> None:
        """Make a folder that only this account may enter; refuse one that is somebody else's."""
        path.mkdir(mode=0o700, exist_ok=True)
        if self.switch and path.lstat().st_uid == 0:
            os.chown(path, self.uid, self.gid)
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != self.uid:
            raise SetupError(f"{path} belongs to another user; remove it, or set DATAPROC_DATA_DIR to another folder")
        path.chmod(0o700)

    def own(self, folder: Path) -> None:
        """Give a folder and all in it to this account: its number may differ from when they were made."""
        if self.switch and folder.stat().st_uid != self.uid:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def may_use(self, path: Path) -> bool:
        """Whether this account can enter all folders above `path`, and read and run it."""
        if not self.switch:
            return True
        return all(self.has(folder, 1) for folder in path.resolve().parents) and self.has(path, 5)

    def has(self, path: Path, bits: int) -> bool:
        """Whether this account has the permission `bits` (4 read, 1 execute) on `path`."""
        found = path.stat()
        shift = 6 if found.st_uid == self.uid else 3 if found.st_gid == self.gid else 0
        return found.st_mode >> shift & bits == bits


def service_user() -> pwd.struct_passwd:
    """Return the user `dataproc`, made if it is missing."""
    try:
        return pwd.getpwnam(NAME)
    except KeyError:
        make_service_user()
        return pwd.getpwnam(NAME)


def make_service_user() -> None:
    """Make a system user without a home and without a login."""
    program = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None:
        raise SetupError(
            f"PostgreSQL cannot run as root, and there is no useradd: make a user {NAME!r}, or do not run as root"
        )
    command = [program, "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", NAME]
    done = subprocess.run(command, text=True, capture_output=True, check=False)  # noqa: S603 - fixed words
    if done.returncode not in (0, 9):  # 9: somebody else has just made it
        raise SetupError(f"the user {NAME!r} could not be made: {done.stderr.strip()}; make it, or do not run as root")
