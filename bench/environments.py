"""Environments of the peers: each installed from a hashed lock file of its own, apart from ours."""

import hashlib
import json
import shutil
import subprocess
import venv
from dataclasses import dataclass
from pathlib import Path

from bench.errors import PeerError

ROOT = Path(__file__).parents[1]
PEERS = ROOT / "bench" / "peers"
CACHE = ROOT / ".bench"
"""Where environments and data sets are kept between runs; git ignores it."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A program to compare with, in an environment of its own."""

    name: str

    @property
    def folder(self) -> Path:
        """The environment."""
        return CACHE / self.name

    @property
    def python(self) -> Path:
        """The environment's Python."""
        return self.folder / "bin" / "python"

    def install(self) -> None:
        """Make the environment, unless it was made from the same lock file."""
        lock = PEERS / f"{self.name}.lock"
        stamp, wanted = self.folder / "installed", hashlib.sha256(lock.read_bytes()).hexdigest()
        if stamp.exists() and stamp.read_text() == wanted:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        venv.create(self.folder, with_pip=True)
        pip = [str(self.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
        self.succeed([*pip, "-r", str(lock)])
        stamp.write_text(wanted)

    def run(self, script: str, *arguments: str, secret: str = "") -> dict[str, object]:
        """Run a script of `bench/peers`; return the JSON it prints. `secret` reaches it as its input."""
        return dict(json.loads(self.succeed([str(self.python), str(PEERS / script), *arguments], secret)))

    def succeed(self, command: list[str], text: str = "") -> str:
        """Return what a command prints, or raise `PeerError` with what it said."""
        done = subprocess.run(command, input=f"{text}\n", text=True, capture_output=True, check=False)
        if done.returncode != 0:
            raise PeerError(f"{self.name} failed; it said: {done.stderr.strip()[-2000:]}")
        return done.stdout

    def version(self, package: str) -> str:
        """Return the version of a package in the environment."""
        code = f"from importlib.metadata import version; print(version({package!r}))"
        return self.succeed([str(self.python), "-c", code]).strip()
