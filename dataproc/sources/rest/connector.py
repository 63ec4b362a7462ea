"""What can be asked of a registered API."""

from collections.abc import Sequence
from dataclasses import dataclass

from dataproc.domain.source_columns import EVERYTHING_INFERRED, type_name
from dataproc.domain.sources.rest import Resource
from dataproc.ports.connector import Discovered
from dataproc.ports.secrets import Secrets
from dataproc.ports.throttle import Throttle
from dataproc.sources.rest.asks import Ask
from dataproc.sources.rest.client import open_client
from dataproc.sources.rest.columns import sampled
from dataproc.sources.rest.connection import RestConnection
from dataproc.sources.rest.pages import PageReader
from dataproc.sources.rest.paging import Spot


@dataclass(frozen=True, slots=True)
class RestConnector:
    """Reaches a REST API."""

    connection: RestConnection
    secrets: Secrets
    throttle: Throttle

    def test(self) -> str:
        """Ask for the test path; return what the server says of itself."""
        with open_client(self.connection, self.secrets, self.throttle) as client:
            answer = client.send(Ask("GET", self.connection.base_url + self.connection.test_path))
        return f"{answer.header('server') or 'the API'} answered {answer.status}"

    def discover(self) -> Sequence[Discovered]:
        """Return the resources that the connection lists, with the columns that their first pages show."""
        found = []
        with open_client(self.connection, self.secrets, self.throttle) as client:
            for name, listed in sorted(self.connection.resources.items()):
                resource = Resource(path=listed.path, records=listed.records)
                kinds = sampled(PageReader(client, resource).page(Spot()).records)
                columns = tuple((each.name, type_name(each)) for each in EVERYTHING_INFERRED.schema(kinds))
                found.append(Discovered(name, columns))
        return found
