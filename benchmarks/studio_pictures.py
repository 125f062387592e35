"""The pictures of docs/studio.md: `PYTHONPATH=tests python benchmarks/studio_pictures.py runs/mine --out docs/images`.

It needs gradio and Chromium. The run should have trained for a while; one that is training shows the time left.
"""

from __future__ import annotations

import argparse
import io
import time
from pathlib import Path

from PIL import Image
from shared.browser import Browser
from shared.studio import Studio, served

HERE = "[...document.querySelectorAll('[role=tabpanel]')].find((panel) => panel.offsetParent)"
"""The panel that is shown."""


def show(studio: Studio, file: Path, panel: str, captions: tuple[str, ...] = (), wide: bool = True, dark: bool = False) -> None:
    """A panel with what its button gives for the captions, as a PNG of 128 colours."""
    with Browser(1280, 760, served=True) as browser:
        if dark:
            browser.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
        browser.open(studio.address)
        tab = f"document.querySelector('#panel-{panel}-button')"
        browser.wait(tab)
        browser.run(f"{tab}.click()")
        browser.wait(f"{HERE} && {HERE}.querySelector('.buttons button, .samples')")
        if not wide:
            browser.size(390, 844)
        for place, caption in enumerate(captions):
            browser.run(
                f"(() => {{ const field = [...{HERE}.querySelectorAll('textarea')].filter((one) => one.offsetParent)[{place}];"
                f" field.value = '{caption}'; field.dispatchEvent(new Event('input', {{bubbles: true}})); }})()"
            )
        if captions:
            browser.run(f"{HERE}.querySelector('.buttons button.primary').click()")
        browser.wait(f"{HERE}.querySelector('.result img, .samples img')")
        time.sleep(2)  # until what fades in has done so
        shot = Image.open(io.BytesIO(browser.picture())).convert("RGB")
    shot.quantize(128, dither=Image.Dither.NONE).save(file, optimize=True)
    print(file, f"{file.stat().st_size / 1e3:.0f} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="a run's folder")
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    arguments = parser.parse_args()
    red, blue = (f"a large {colour} flower with five round petals in a meadow" for colour in ("red", "blue"))
    with served("garden", "garden-attention") as studio:
        show(studio, arguments.out / "studio-paint.png", "paint", (red,))
        show(studio, arguments.out / "studio-vary.png", "vary", (rf"{red}\n{blue}",))
        show(studio, arguments.out / "studio-edit.png", "edit", (red, blue), dark=True)
        show(studio, arguments.out / "studio-phone.png", "attention", (red,), wide=False)
    with served(arguments.run) as studio:
        show(studio, arguments.out / "studio-training.png", "training")


if __name__ == "__main__":
    main()
