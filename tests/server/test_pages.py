"""The index page: valid where titles and names are hostile, or where there is no topic."""

from html.parser import HTMLParser

from penstock_server.pages import index_page

HOSTILE = '<script>alert("1")</script>&\''


class Reader(HTMLParser):
    """Collects what a browser would make of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text: list[str] = []
        self.links: list[str | None] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def topic(name: str) -> dict[str, object]:
    return {"name": name, "retained": 12345, "subscribers": 7, "publishable": True}


def test_what_users_chose_is_escaped() -> None:
    page = Reader(index_page(HOSTILE, [topic(HOSTILE)]))
    assert "script" not in page.tags
    assert page.text.count(HOSTILE) == 3  # the title twice, and the topic in the table
    assert any(link and link.startswith(f"/topics/{HOSTILE}?") for link in page.links)


def test_every_topic_has_a_row() -> None:
    page = Reader(index_page("Room", [topic("cpu"), topic("room.1")]))
    assert page.tags.count("tr") == 3
    assert {"cpu", "room.1", "12,345", "7", "yes"} <= set(page.text)
    assert any(link and link.startswith("/topics/room.1?") for link in page.links)


def test_a_server_without_topics_has_a_page() -> None:
    page = Reader(index_page("Room", []))
    assert "/topics/NAME" in "".join(page.text)
