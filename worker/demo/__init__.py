"""The story that `troth demo` plays: real processes and a real Redis against simulated providers, every chapter verified."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from worker.demo.chapters import CHAPTERS
from worker.demo.stage import NotTrue, Stage


def play(*, port: int, once: bool, console: Console, until_told: Callable[[], None]) -> dict[str, Any]:
    """Set the stage, play and verify each chapter, then (unless `once`) stay up until told to end.

    Returns {"verified": bool, "url": ..., "chapters": [{"title", "verified", "seconds", "facts" | "failure"}]}; the story
    ends with the first chapter that was not true.
    """
    with tempfile.TemporaryDirectory(prefix="troth-demo-") as folder, Stage(Path(folder), port, console) as stage:
        chapters: list[dict[str, Any]] = []
        for number, chapter in enumerate(CHAPTERS, start=1):
            chapters.append(_play_one(number, chapter, stage, console))
            if not chapters[-1]["verified"]:
                break
        verified = all(chapter["verified"] for chapter in chapters)
        if not once:
            console.print(f"\n[bold]{stage.local.url}/admin[/] stays up. Ctrl-C ends it and removes what it wrote.")
            for name, link in stage.sign_in_links().items():
                console.print(f"  Sign in as {name}, once: {link}", soft_wrap=True)
            until_told()
        return {"verified": verified, "url": stage.local.url, "chapters": chapters}


def _play_one(number: int, chapter: Callable[[Stage], list[str]], stage: Stage, console: Console) -> dict[str, Any]:
    title = (chapter.__doc__ or "").strip()
    console.print(f"\n[bold]{number}. {title}[/]")
    began = time.monotonic()
    try:
        facts = chapter(stage)
    except NotTrue as failure:
        console.print(f"   [red]not true:[/] {failure}")
        return {
            "title": title,
            "verified": False,
            "seconds": round(time.monotonic() - began, 1),
            "failure": str(failure),
        }
    for fact in facts:
        console.print(f"   [green]✓[/] {fact}")
    return {"title": title, "verified": True, "seconds": round(time.monotonic() - began, 1), "facts": facts}
