"""REST APIs: records of an API, page by page."""
