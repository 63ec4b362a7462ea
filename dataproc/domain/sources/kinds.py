"""The kinds of sources that there are."""

from typing import Annotated

from pydantic import Field

from dataproc.domain.sources.database import DatabaseSource
from dataproc.domain.sources.external import DltSource, PluginSource
from dataproc.domain.sources.files import FilesSource, S3Source
from dataproc.domain.sources.rejects import RejectsSource
from dataproc.domain.sources.rest import RestSource

AnySource = S3Source | FilesSource | DatabaseSource | RestSource | DltSource | PluginSource | RejectsSource
Source = Annotated[AnySource, Field(discriminator="kind")]
