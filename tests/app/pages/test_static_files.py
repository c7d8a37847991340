"""Static files: pages load only local files, each with its hash, and vendored files are unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.pages import static_files

if TYPE_CHECKING:
    from tests.app.pages.conftest import Site


def test_vendored_files_match_their_recorded_hashes() -> None:
    vendor = static_files.FOLDER / "vendor"
    files = {path.relative_to(static_files.FOLDER).as_posix(): path for path in vendor.glob("*/*")}
    written = {path: value for path, value in static_files.integrities().items() if path.startswith("vendor/")}
    assert written == {path: static_files.integrity(file.read_bytes()) for path, file in files.items()}
    for folder in vendor.iterdir():
        assert not folder.is_dir() or (folder / "LICENSE").exists()


def pages(site: Site) -> list[str]:
    named = [f"/submissions/{submission_id}" for submission_id in site.ids.values()]
    described = ["/guide", "/benchmarks/toy/about", "/benchmarks/toy/submit"]
    compared = f"/compare?a={site.ids['good']}&b={site.ids['middling']}"
    return [*described, compared, "/", "/benchmarks/toy", "/benchmarks/open-toy", "/compare", "/docs", *named]


def test_pages_load_only_local_files_with_integrity_hashes(site: Site) -> None:
    seen = set()
    for path in pages(site):
        page = site.page(path)
        for attributes in page.all("script") + [link for link in page.all("link") if link["rel"] != "alternate"]:
            address = attributes.get("src") or attributes["href"]
            assert address is not None
            response = site.browser.get(address)
            assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
            if attributes.get("rel") != "icon":
                assert attributes["integrity"] == static_files.integrity(response.content)
            seen.add(address.split("?")[0].rsplit("/", 1)[1])
        for tag, attributes in page.elements:
            assert tag != "style"
            assert not {name for name in attributes if name == "style" or name.startswith("on")}
            for name in ("href", "src", "action"):
                assert (attributes.get(name) or "/").startswith(("/", "?", "#"))
                assert not (attributes.get(name) or "").startswith("//")
    charts = {
        "charts.js",
        "forest.js",
        "pareto.js",
        "histogram.js",
        "classes.js",
        "scatter.js",
        "targets.js",
        "scale.js",
        "margins.js",
        "deletion.js",
        "falls.js",
        "curves.js",
    }
    assert seen == {"style.css", "icon.svg", "docs.js", "copy.js", "htmx.min.js"} | charts | {
        "upload.js",
        "form.js",
        "d3.min.js",
        "plot.umd.min.js",
        "swagger-ui-bundle.js",
        "swagger-ui.css",
    }


def test_files_without_the_current_hash_are_revalidated(site: Site) -> None:
    for path in ("/static/charts.js", "/static/charts.js?v=old"):
        response = site.browser.get(path)
        assert response.headers["cache-control"] == "no-cache"
        again = site.browser.get(path, headers={"If-None-Match": response.headers["etag"]})
        assert again.status_code == 304


def test_pages_without_charts_load_no_chart_library(site: Site) -> None:
    assert not site.page("/compare").all("script")
    for path in ("/", "/guide"):
        assert [script["src"] for script in site.page(path).all("script")] == [static_files.url("copy.js")]
