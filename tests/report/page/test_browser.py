"""The page in a real browser, from disk: it loads nothing, complains of nothing, and does what its buttons say."""

import base64
import json
import shutil
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait
from tests.advice_contents import make_advice_content, write_content

from frostline.report import read_advice, write_advice_report
from frostline.report.page.html import make_html
from frostline.report.page.parts import Page

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--window-size=1280,900",
)
Everything = Callable[[Callable[[str], str]], Page]
pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="needs Chromium and its driver (Debian: chromium, chromium-driver)"
)


@pytest.fixture(scope="module")
def chrome() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    for flag in FLAGS:
        options.add_argument(flag)
    options.binary_location = str(BROWSER)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(executable_path=DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def report(everything: Everything, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a page of everything."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(make_html(everything(str)), encoding="utf-8")
    return path


@pytest.fixture
def opened(chrome: webdriver.Chrome, report: Path) -> webdriver.Chrome:
    """Open the report from disk, with empty logs, in a light window as wide as a desk's."""
    chrome.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    prefer(chrome, "light")
    chrome.get("about:blank")
    for log in ("browser", "performance"):
        chrome.get_log(log)
    chrome.get(report.as_uri())
    return chrome


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """Serve on this machine; return the address and the list of what has been asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        Thread(target=found.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{found.server_port}", asked
        found.shutdown()


def prefer(chrome: webdriver.Chrome, scheme: str, media: str = "") -> None:
    """Set what a page's style may ask for; nothing moves, so that nobody has to wait."""
    wishes = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
    features = [{"name": name, "value": value} for name, value in wishes.items()]
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})


def requests(chrome: webdriver.Chrome) -> list[str]:
    """Return the addresses that the page has asked for since its log was last read."""
    messages = [json.loads(entry["message"])["message"] for entry in chrome.get_log("performance")]
    return [
        message["params"]["request"]["url"] for message in messages if message["method"] == "Network.requestWillBeSent"
    ]


def find(chrome: webdriver.Chrome, selector: str) -> WebElement:
    return chrome.find_element(By.CSS_SELECTOR, selector)


def column(chrome: webdriver.Chrome, place: int) -> list[str]:
    cells = chrome.find_elements(By.CSS_SELECTOR, f"#table tbody tr > :nth-child({place})")
    return [cell.text for cell in cells]


def script(chrome: webdriver.Chrome, code: str, *arguments: Any) -> Any:
    return chrome.execute_script(f"return {code}", *arguments)


def tip(chrome: webdriver.Chrome) -> str:
    shown = find(chrome, "#tip")
    return shown.text if shown.is_displayed() else ""


def test_it_opens_from_disk_in_silence_and_asks_for_nothing(opened: webdriver.Chrome) -> None:
    script(opened, "window.scrollTo(0, document.body.scrollHeight)")
    asked = requests(opened)
    assert asked and asked[0].startswith("file://")
    assert not [address for address in asked[1:] if not address.startswith("data:")]
    assert opened.get_log("browser") == []
    assert script(opened, "document.images[0].naturalWidth") == 8


def test_what_others_put_into_the_file_neither_runs_nor_loads(
    opened: webdriver.Chrome, report: Path, tmp_path: Path, server: tuple[str, list[str]]
) -> None:
    address, asked = server
    foreign = (
        f'<script>window.ran = true</script><link rel="stylesheet" href="{address}/a.css"><img src="{address}/a.png">'
    )
    path = tmp_path / "foreign.html"
    path.write_text(report.read_text(encoding="utf-8").replace("<main", f"{foreign}<main"), encoding="utf-8")
    opened.get(path.as_uri())
    assert script(opened, "window.ran === undefined") and asked == []
    said = [entry["message"] for entry in opened.get_log("browser")]
    assert len([message for message in said if "Content Security Policy" in message]) >= 3


def test_names_that_are_code_are_only_names(opened: webdriver.Chrome, everything: Everything, tmp_path: Path) -> None:
    nasty = "<img src=x onerror=window.ran=1><script>window.ran=1</script>"
    path = tmp_path / "nasty.html"
    path.write_text(make_html(everything(lambda text: text + nasty)), encoding="utf-8")
    opened.get(path.as_uri())
    mark = find(opened, "#cost .mark")
    script(opened, "arguments[0].focus()", mark)
    assert nasty in tip(opened)
    assert script(opened, "window.ran === undefined") and opened.get_log("browser") == []


def test_a_click_sorts_a_table_and_another_turns_it(opened: webdriver.Chrome) -> None:
    before = column(opened, 1)
    head = find(opened, "#table thead th:nth-child(3)")
    head.find_element(By.TAG_NAME, "button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert column(opened, 3) == ["91 s", "88 s", "84 s", "71 s", "52 s", "19.5 s", "11.9 s", "4.1 s", "-"]
    head.find_element(By.TAG_NAME, "button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert column(opened, 3)[0] == "4.1 s" and column(opened, 3)[-1] == "-"
    assert sorted(column(opened, 1)) == sorted(before)


def test_the_keyboard_sorts_too_and_equal_rows_keep_their_order(opened: webdriver.Chrome) -> None:
    find(opened, "#table thead th:nth-child(2) button").send_keys(Keys.ENTER)
    by_accuracy = column(opened, 1)
    assert by_accuracy[0] == "lp_ft" and by_accuracy[-1] == "scratch"
    find(opened, "#table thead th:nth-child(4) button").send_keys(Keys.SPACE)
    heads = opened.find_elements(By.CSS_SELECTOR, "#table thead th")
    assert [head.get_attribute("aria-sort") for head in heads] == ["none", "none", "none", "ascending"]
    assert column(opened, 1) == ["scratch", *by_accuracy[:-1]]  # "failed" before "fine", which are all equal


def test_a_point_says_the_same_when_pointed_at_and_when_focused(opened: webdriver.Chrome) -> None:
    dot = find(opened, "#cost .wide [data-name=full] .dot")
    script(opened, "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", dot)
    ActionChains(opened).move_to_element(dot).perform()
    pointed = tip(opened)
    assert pointed == "full\naccuracy: 0.934 (0.924 to 0.944)\nseconds: 88 (79.2 to 96.8)\n3 seeds"
    lit = opened.find_elements(By.CSS_SELECTOR, ".lit")
    assert {element.get_attribute("data-name") for element in lit} == {"full"}
    assert {"tr", "g"} <= {element.tag_name for element in lit}
    ActionChains(opened).move_to_element(find(opened, "h1")).perform()
    assert tip(opened) == "" and not opened.find_elements(By.CSS_SELECTOR, ".lit")
    script(opened, "arguments[0].focus()", find(opened, "#cost .wide [data-name=full]"))
    assert tip(opened) == pointed
    ActionChains(opened).send_keys(Keys.ESCAPE).perform()
    assert tip(opened) == ""


def test_arrow_keys_walk_along_a_line_and_over_a_map(opened: webdriver.Chrome) -> None:
    script(opened, "arguments[0].focus()", find(opened, "#learning .wide [data-name=full] .mark"))
    ActionChains(opened).send_keys(Keys.ARROW_RIGHT).perform()
    assert "epoch: 1\n" in tip(opened)
    script(opened, "arguments[0].focus()", find(opened, "#confusion .wide .mark"))
    ActionChains(opened).send_keys(Keys.ARROW_RIGHT, Keys.ARROW_DOWN, Keys.ARROW_DOWN).perform()
    assert tip(opened) == "2\n1: 2"


def test_the_button_turns_the_light_off_and_on(opened: webdriver.Chrome) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    button = find(opened, "#theme")
    assert script(opened, ground) == "rgb(255, 255, 255)" and button.text == "Dark"
    button.click()
    assert script(opened, ground) == "rgb(14, 21, 28)" and button.text == "Light"
    button.click()
    assert script(opened, ground) == "rgb(255, 255, 255)"
    prefer(opened, "dark")
    assert script(opened, ground) == "rgb(255, 255, 255)"  # the button's word stands


def test_the_first_tab_leads_past_the_contents_and_focus_is_seen(opened: webdriver.Chrome) -> None:
    ActionChains(opened).send_keys(Keys.TAB).perform()
    skip = opened.switch_to.active_element
    assert skip.text == "To the results" and skip.is_displayed()
    assert script(opened, "getComputedStyle(arguments[0]).outlineStyle", skip) == "solid"
    skip.send_keys(Keys.ENTER)
    assert opened.current_url.endswith("#content")


def test_the_command_can_be_copied(opened: webdriver.Chrome) -> None:
    button = find(opened, ".copy")
    script(opened, "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", button)
    button.click()
    assert script(opened, "getSelection().toString()") == "frostline compare"


@pytest.mark.parametrize("width", [320, 390, 768])
def test_on_a_phone_nothing_but_tables_scrolls_sideways(opened: webdriver.Chrome, width: int) -> None:
    phone = {"width": width, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    opened.refresh()
    assert script(opened, "document.documentElement.scrollWidth") == width
    narrow, wide = find(opened, "#cost .narrow"), find(opened, "#cost .wide")
    assert (narrow.is_displayed(), wide.is_displayed()) == ((True, False) if width <= 700 else (False, True))


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_the_page_of_an_advice_fits_and_complains_of_nothing(
    opened: webdriver.Chrome, tmp_path: Path, width: int
) -> None:
    nasty = "<img src=x onerror=window.ran=1>"
    content = make_advice_content(say=lambda text: f"{text} {nasty}")
    path = write_advice_report(tmp_path, read_advice(write_content(tmp_path, content)))
    size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 700}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    opened.get(path.as_uri())
    assert script(opened, "document.documentElement.scrollWidth") <= width
    shown = find(opened, f"#price-list {'.narrow' if width <= 700 else '.wide'} .hollow")
    assert shown.is_displayed() and nasty in find(opened, "h1").text
    assert script(opened, "window.ran === undefined") and opened.get_log("browser") == []


def test_it_prints_with_its_folds_open(opened: webdriver.Chrome) -> None:
    seen = "document.querySelector('#method details p').checkVisibility({contentVisibilityAuto: true})"
    assert not script(opened, seen)
    prefer(opened, "light", "print")
    WebDriverWait(opened, 10).until(lambda _: script(opened, seen))  # it is painted again first
    assert not find(opened, "#theme").is_displayed()
    prefer(opened, "light")
    printed = opened.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    assert base64.b64decode(printed["data"]).startswith(b"%PDF")


def test_words_are_no_wider_than_they_were_estimated(opened: webdriver.Chrome) -> None:
    from frostline.report.page.charts.svg import measure_text

    code = (
        "[...document.querySelectorAll('.wide text.name')].map(one => [one.textContent, one.getComputedTextLength()])"
    )
    measured = script(opened, code)
    assert len(measured) > 20
    assert [text for text, width in measured if width > 1.06 * measure_text(text)] == []
