"""The embedded PostgreSQL, where one runs already: commands use it as `dataproc up` does."""

from pydantic import SecretStr

from dataproc.embedded.postgres import EmbeddedPostgres, default_data_dir
from dataproc.settings import Settings


def with_embedded(settings: Settings) -> Settings:
    """Return the settings with the databases of the embedded server, if one is needed and runs."""
    if settings.metadata_url is not None and settings.warehouse_url is not None:
        return settings
    server = embedded_server(settings)
    if server is None:
        return settings
    return settings.model_copy(
        update={
            "metadata_url": settings.metadata_url or SecretStr(server.metadata_url),
            "warehouse_url": settings.warehouse_url or SecretStr(server.warehouse_url),
        }
    )


def embedded_server(settings: Settings) -> EmbeddedPostgres | None:
    """Return the embedded server if it runs; it is neither made nor started."""
    data_dir = (settings.data_dir or default_data_dir()).absolute()
    try:
        if not (data_dir / "postgres" / "postmaster.pid").exists():
            return None
    except PermissionError:
        return None
    server = EmbeddedPostgres(data_dir.resolve())
    return server if server.answers() else None
