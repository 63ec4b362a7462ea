"""Records of the first pages, which show the types of columns that are not declared."""

from dataclasses import dataclass, field

from dataproc.sources.json_values import Raw
from dataproc.sources.rest.pages import Page, PageReader
from dataproc.sources.rest.paging import Spot

FILLED_PAGES = 3
"""Pages with records that a sample has."""
MAX_RECORDS = 1_000
"""Records after which no further page is read."""
MAX_PAGES = 100
"""Pages that are read, with or without records."""


@dataclass(slots=True)
class Sample:
    """Records of some pages; `filled_pages` is how many with records are wanted, and the first page is always read."""

    filled_pages: int = FILLED_PAGES
    records: list[Raw] = field(default_factory=list, repr=False)
    first: Page | None = None
    filled: int = 0
    read_pages: int = 0

    @property
    def is_enough(self) -> bool:
        """Whether no further page is read."""
        return self.filled >= self.filled_pages or len(self.records) >= MAX_RECORDS or self.read_pages >= MAX_PAGES

    def read(self, reader: PageReader) -> None:
        """Add the first pages of a resource; pages without records are passed over where the API leads on."""
        page = self.add(reader.page(Spot()))
        while page.there is not None and not self.is_enough:
            page = self.add(reader.page(page.there))

    def add(self, page: Page) -> Page:
        """Add a page; the first one with records, else the first of all, is kept."""
        if self.first is None or (page.records and not self.first.records):
            self.first = page
        self.read_pages += 1
        self.filled += bool(page.records)
        self.records += page.records
        return page
