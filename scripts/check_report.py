"""Opens a page of `bfn report` in a headless Chromium, as people will see it, and reports what is wrong with it.

    python scripts/check_report.py report.html FOLDER [--chromium PROGRAM]

The page is opened at the widths of a phone, a tablet and a desktop, in light and dark, and printed on paper. The
console must stay silent, nothing may be requested from outside the page, nothing may be wider than the screen, and
every picture must be decoded. Leaves pictures of the page in FOLDER. Needs the package `playwright` and a Chromium.
Exits with status 1 if anything is wrong.
"""

import argparse
import pathlib
import sys

from playwright.sync_api import sync_playwright

WIDTHS = {"phone": 390, "tablet": 820, "desktop": 1280}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("page", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--chromium")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    address = args.page.resolve().as_uri()
    wrong = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=args.chromium, args=["--no-sandbox"])
        for name, width in WIDTHS.items():
            for scheme in ["light", "dark"]:
                where = f"{name}, {scheme}"
                context = browser.new_context(
                    viewport={"width": width, "height": 900}, color_scheme=scheme, device_scale_factor=1.5
                )
                page = context.new_page()
                page.on("console", lambda message: wrong.append(f"{where}: the console says {message.text}"))
                page.on("pageerror", lambda error: wrong.append(f"{where}: {error}"))

                def asked(request):
                    if request.url != address and not request.url.startswith("data:"):
                        wrong.append(f"{where}: asks for {request.url}")

                page.on("request", asked)
                page.goto(address)
                page.wait_for_load_state("networkidle")
                wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
                if wide > 0:
                    wrong.append(f"{where}: {wide} pixels wider than the screen")
                broken = page.evaluate("[...document.images].filter(i => !i.complete || !i.naturalWidth).length")
                if broken:
                    wrong.append(f"{where}: {broken} pictures are not shown")
                page.screenshot(path=args.folder / f"{name}-{scheme}.png", full_page=True)
                if name == "desktop" and scheme == "light":
                    page.pdf(path=args.folder / "paper.pdf", format="A4", print_background=False)
                context.close()
        browser.close()
    for problem in wrong:
        print(problem, file=sys.stderr)
    print(f"{address}: {'problems' if wrong else 'no problems'} at {len(WIDTHS)} widths, light and dark")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
