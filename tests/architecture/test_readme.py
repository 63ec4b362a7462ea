"""What the README shows is what there is."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_job_in_the_readme_is_the_example() -> None:
    example = (ROOT / "examples" / "orders.yaml").read_text()

    assert example in README


def test_every_file_that_the_readme_links_to_exists() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]

    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_endpoint_in_the_readme_exists() -> None:
    from dataproc.bootstrap import Services
    from serve_app.app import create_app

    def open_services() -> Services:
        raise AssertionError("nothing is served here")

    routes = set(create_app(open_services).openapi()["paths"])
    shown = {match.replace("{id}", "{job_id}") for match in re.findall(r"localhost:8000(/[\w{}/]+)", README)}

    assert shown
    assert shown - routes == set()
