"""Settings: read once at the door, from `DATAPROC_*` in the environment; secrets have no default."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from dataproc.domain.duration import Duration


def by_commas(value: object) -> object:
    """Return the parts of a text."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def references(keys: tuple[str, ...]) -> tuple[str, ...]:
    """Return keys, unless one stands here itself, in place of where it is."""
    if not all(key.startswith(("secret://", "kms://")) for key in keys):
        msg = "write where each key is, never the key: secret://name#key, or kms:// and an encrypted data key"
        raise ValueError(msg)
    return keys


KeyReferences = Annotated[tuple[str, ...], NoDecode, BeforeValidator(by_commas), AfterValidator(references)]


class Settings(BaseSettings):
    """How this installation is set up. With none of them given, everything is embedded and local."""

    model_config = SettingsConfigDict(env_prefix="DATAPROC_", extra="ignore", frozen=True, hide_input_in_errors=True)

    metadata_url: SecretStr | None = Field(default=None, description="PostgreSQL that holds jobs; none: embedded.")
    warehouse_url: SecretStr | None = Field(
        default=None, description="PostgreSQL warehouse; none: a database of the embedded server."
    )
    ray_address: str | None = Field(default=None, description="Ray cluster, `host:port` or `auto`; none: a local one.")
    ray_auth_mode: Literal["disabled", "token"] = Field(
        default="disabled", validation_alias="RAY_AUTH_MODE", description="Whether the Ray cluster asks for a token."
    )
    ray_auth_token: SecretStr | None = Field(
        default=None, validation_alias="RAY_AUTH_TOKEN", description="That token; KubeRay sets it in its pods."
    )
    ray_dashboard_url: str = Field(default="http://127.0.0.1:8265", description="Where the Ray Jobs REST API is.")
    data_dir: Path | None = Field(
        default=None,
        description="Folder of the embedded servers; none: `~/.local/share/dataproc`, for root `/var/lib/dataproc`.",
    )
    files_root: Path | None = Field(
        default=None, description="Folder below which `kind: files` may read; none: not at all."
    )
    secrets: Literal["environment", "files", "aws"] = Field(
        default="environment",
        description="Where the secrets of sources are: variables `DATAPROC_SECRET_*`, files, or AWS Secrets Manager.",
    )
    secrets_dir: Path | None = Field(default=None, description="Folder of the secrets, where they are files.")
    python_modules: Annotated[tuple[str, ...], NoDecode, BeforeValidator(by_commas)] = Field(
        default=(), description="Packages, with commas between, of which jobs may name functions; none: no package."
    )
    encryption_keys: KeyReferences = Field(
        default=(),
        description="Keys of `mask` and of personal rejects, with commas between: `secret://name#key`, or `kms://` and "
        "a data key that AWS KMS encrypted. The first one encrypts, all decrypt, the last one makes hashes.",
    )
    redis_url: SecretStr | None = Field(
        default=None, description="Redis that keeps the lookups of `enrich` for all runners; none: each keeps its own."
    )
    http_host: str = Field(default="127.0.0.1", description="Address of the HTTP API.")
    http_port: int = Field(default=8000, ge=0, le=65535, description="Port of the HTTP API.")
    api_replicas: int = Field(default=1, ge=1, description="Replicas of the HTTP API.")
    api_url: str = Field(default="http://127.0.0.1:8000", description="Where the CLI finds the HTTP API.")
    pool_size: int = Field(default=20, ge=1, description="Metadata connections kept open, for each process.")
    pool_overflow: int = Field(default=10, ge=0, description="Metadata connections beyond that, under load.")
    lease: Duration = Field(default=timedelta(seconds=30), description="How long a claim lasts without a heartbeat.")
    heartbeat: Duration = Field(
        default=timedelta(seconds=1), description="Time between heartbeats; also how fast a cancel is seen."
    )
    poll: Duration = Field(default=timedelta(milliseconds=100), description="How often an idle runner looks for a job.")
    slots_per_runner: int = Field(default=2, ge=1, description="Jobs that a runner runs at once.")
    max_runners: int = Field(default=4, ge=1, description="Runners that the dispatcher keeps at most.")
    runner_jobs: int = Field(default=2000, ge=1, description="A runner ends after so many jobs and is replaced.")
    max_running: int = Field(default=500, ge=1, description="Jobs that run at once, in all.")
    max_running_per_owner: int | None = Field(default=None, ge=1, description="Jobs of one owner that run at once.")
    max_running_per_source: int | None = Field(
        default=None, ge=1, description="Jobs from one connection that run at once."
    )
    max_running_per_target: int | None = Field(
        default=2, ge=1, description="Jobs into one table that run at once: one publishes, the next one reads."
    )
    events_url: SecretStr | None = Field(
        default=None, description="Where the ends of jobs are posted, as CloudEvents; none: they are only logged."
    )
    direct_limit: int = Field(
        default=2 * 1024**3, ge=0, description="With `load: auto`, sources of up to so many bytes are loaded directly."
    )
    plan_timeout: Duration = Field(
        default=timedelta(seconds=30), description="The longest that the HTTP API plans a job."
    )
    log_level: str = Field(default="INFO", description="DEBUG, INFO, WARNING or ERROR.")

    @property
    def ray_token(self) -> str | None:
        """The token that the Ray cluster asks for, in the clear; `None`: it asks for none."""
        return self.ray_auth_token.get_secret_value() if self.ray_auth_token else None
