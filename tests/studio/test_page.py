"""Every panel of the studio, clicked through in a headless Chromium that reaches nothing but this machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from shared.browser import PROGRAM, Browser
from shared.studio import Studio
from shared.studio_models import STORY, add_samples

pytest.importorskip("gradio")
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium")

TYPED = {"story": (r"\n".join(STORY), "Rosa=Iris")}
"""What is typed into panels that want more than captions."""
HERE = "[...document.querySelectorAll('[role=tabpanel]')].find((panel) => panel.offsetParent)"
"""The panel that is shown."""


def open_panel(browser: Browser, title: str) -> None:
    tab = f"[...document.querySelectorAll('[role=tab]')].find((tab) => tab.textContent.trim() == '{title}')"
    browser.wait("document.querySelector('[role=tab]')")
    if browser.run(f"!{tab}"):  # it has no room, and is in the menu
        browser.run("document.querySelector('.overflow-menu > button').click()")
        listed = f"[...document.querySelectorAll('.overflow-menu button')].find((one) => one.textContent.trim() == '{title}')"
        browser.wait(listed)
        browser.run(f"{listed}.click()")
    else:
        browser.run(f"{tab}.click()")
    browser.wait(f"{tab}.getAttribute('aria-selected') == 'true' && {HERE}.id == {tab}.getAttribute('aria-controls')")  # not the last one
    browser.wait(f"{HERE}.querySelector('.buttons button, .run')")


def fill(browser: Browser, *captions: str) -> None:
    """Type captions into the fields of the panel that is shown."""
    for place, caption in enumerate(captions):
        browser.run(
            f"(() => {{ const field = [...{HERE}.querySelectorAll('textarea')].filter((one) => one.offsetParent)[{place}];"
            f" if (field) {{ field.value = '{caption}'; field.dispatchEvent(new Event('input', {{bubbles: true}})); }} }})()"
        )


def choose_file(browser: Browser, path: Path) -> None:
    """Choose a file in the first field that has no picture yet."""
    field = f"[...{HERE}.querySelectorAll('input[type=file]')].find((one) => !one.closest('.upload').querySelector('img'))"
    found = browser.ask("Runtime.evaluate", expression=field)["result"]["objectId"]
    browser.ask("DOM.setFileInputFiles", files=[str(path)], objectId=found)


def drag(browser: Browser, element: str, right: int, down: int) -> None:
    """Drag the middle of an element with the mouse."""
    browser.run(f"{element}.scrollIntoView({{block: 'center'}})")
    x, y = browser.run(f"(({{left, top, width, height}}) => [left + width / 2, top + height / 2])({element}.getBoundingClientRect())")
    for kind, place in (("mousePressed", (x, y)), ("mouseMoved", (x + right, y + down)), ("mouseReleased", (x + right, y + down))):
        browser.ask("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", buttons=1, clickCount=1)


def press(browser: Browser, kind: str = "primary") -> None:
    browser.run(f"{HERE}.querySelector('.buttons button.{kind}').click()")


def test_every_panel(studio: Studio, tmp_path: Path) -> None:
    from limner.studio.panel import panels

    own = tmp_path / "own.png"
    Image.new("RGB", (40, 30), "red").save(own)
    with Browser(served=True) as browser:
        browser.ask("Network.enable")
        browser.open(studio.address)
        for name, panel in panels().items():
            open_panel(browser, panel.title)
            if not browser.run(f"!!{HERE}.querySelector('.buttons')"):
                continue
            for place in range(browser.run(f"{HERE}.querySelectorAll('input[type=file]').length")):
                choose_file(browser, own)
                browser.wait(f"{HERE}.querySelectorAll('.upload img').length > {place}")
            fill(browser, *TYPED.get(name, ("a red flower", "a blue flower")))
            press(browser)
            loaded = f"{HERE}.querySelector('.result img')?.naturalWidth > 0"  # later than the picture is there
            said = browser.wait(f"{HERE}.querySelector('.said.error')?.textContent || ({loaded} && 'loaded')")
            assert said == "loaded", f"{name} says: {said}"

        open_panel(browser, "Layout")
        board, things = f"{HERE}.querySelector('.board')", f"{HERE}.querySelectorAll('.board .thing')"
        browser.wait(f"{things}.length")
        count = browser.run(f"{things}.length")
        browser.run(f"{board}.querySelector('.remove').click()")
        browser.run(f"{board}.querySelector('.add').click()")
        assert browser.run(f"{things}.length") == max(count, 2)
        pixel = browser.run(f"{board}.querySelector('.field').clientWidth / 32")
        added = f"{HERE}.querySelector('.board .thing.chosen')"
        drag(browser, added, round(4 * pixel), round(-5 * pixel))
        drag(browser, f"{added}.querySelector('i')", round(-3 * pixel), 300)
        browser.run(f"{added}.dispatchEvent(new KeyboardEvent('keydown', {{key: 'ArrowLeft', bubbles: true}}))")
        left, top, width, height = browser.run(f"{board}.layout.things.at(-1).box")
        third = 32 / 3
        assert [left, top, width] == pytest.approx([third + 3, third - 5, third - 3], abs=0.2) and top + height == pytest.approx(32)
        laid = f"JSON.parse({HERE}.querySelector('.laid').dataset.layout)"
        browser.wait(
            f"Math.abs({laid}.things.at(-1).box[0] - {left}) < 0.02 && {HERE}.querySelector('.result').textContent.includes('before')"
        )

        open_panel(browser, "Interpolate")
        film = f"{HERE}.querySelector('.film')"
        browser.run(
            f"(() => {{ const slider = {film}.querySelector('input'); slider.value = 0; slider.dispatchEvent(new Event('input')); }})()"
        )
        assert browser.run(f"[...{film}.querySelectorAll('figure')].map((one) => one.hidden).indexOf(false)") == 0
        assert browser.run(f"{film}.querySelector('input').getAttribute('aria-valuetext')") == "0% of the way"

        press(browser, "secondary")
        browser.wait(f"{HERE}.querySelector('.said')?.textContent == 'Stopped.'")

        open_panel(browser, "Training")
        browser.wait(f"{HERE}.querySelector('.samples img') && {HERE}.querySelector('.charts svg')")
        assert browser.run(f"{HERE}.textContent").count("gan step 30") == 1
        add_samples(studio.last, 4)
        browser.wait(f"{HERE}.textContent.includes('gan step 40')")

        asked = [event["params"]["request"]["url"] for event in browser.events if event["method"] == "Network.requestWillBeSent"]
        foreign = [url for url in asked if not url.startswith((studio.address, "data:", "blob:", "about:"))]
        assert asked and not foreign


def test_uploads_are_refused_in_words(studio: Studio, tmp_path: Path) -> None:
    broken, large = tmp_path / "broken.png", tmp_path / "large.png"
    broken.write_bytes(b"no picture at all")
    with large.open("wb") as file:
        file.truncate(100_000_000)
    with Browser(390, 844, served=True) as browser:
        browser.open(studio.address)
        browser.wait("document.querySelector('header.limner')")
        browser.wait("document.querySelector('[role=tabpanel]')")
        assert browser.wait("document.documentElement.scrollWidth", 10) == 390
        browser.wait("document.querySelector('.overflow-menu > button')?.offsetParent")  # for the tabs that have no room
        browser.run("document.querySelector('.overflow-menu > button').click()")
        named = "[...document.querySelectorAll('.overflow-menu button')].find((one) => one.textContent.trim() == 'Restyle')"
        browser.wait(named)
        browser.run(f"{named}.click()")
        browser.wait(f"{HERE} && {HERE}.querySelector('input[type=file]')")
        choose_file(browser, broken)
        browser.wait(f"{HERE}.querySelector('.said.error')?.textContent.includes('not a picture')")
        choose_file(browser, large)
        browser.wait("document.body.textContent.includes('maximum allowed size')")
