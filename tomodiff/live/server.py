"""The live page of a run as a small web server on this computer: nobody without its token is served.

Nothing that a browser sends becomes part of a path: pages, slices and pictures are told by number.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tomodiff.errors import ConfigError, DataError, TomodiffError
from tomodiff.extras import library
from tomodiff.live.folder import RunFolder
from tomodiff.live.ground import Ground
from tomodiff.live.plots import Plots

NEEDS = "tomodiff watch needs"
STATIC = Path(__file__).parent / "static"
FILES = {
    "page.js": "text/javascript",
    "page.css": "text/css",
    "ground.js": "text/javascript",
    "niivue.umd.js": "text/javascript",
    "three.module.min.js": "text/javascript",
    "uPlot.iife.min.js": "text/javascript",
    "uPlot.min.css": "text/css",
}
HOSTS = ("127.0.0.1", "localhost", "[::1]")
"""Names under which a browser may call: a page elsewhere that points its own name here (rebinding) is refused."""
EVERY = 0.5
"""Seconds between two looks at the directory."""
TAIL = 400
"""Lines of the log that a page begins with."""
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def application(run: RunFolder, token: str) -> Any:
    """The ASGI application.  ConfigError where Starlette is not installed."""
    ground, plots = Ground(run.path), Plots(run.path)
    starlette = library("starlette.applications", "watch", NEEDS, "starlette")
    answers = library("starlette.responses", "watch", NEEDS, "starlette")
    routing = library("starlette.routing", "watch", NEEDS, "starlette")

    def refused(request: Any) -> Any | None:
        host = request.headers.get("host", "")
        given = request.query_params.get("token") or request.cookies.get("tomodiff") or ""
        if host.rpartition(":")[0] not in HOSTS and host not in HOSTS:
            return answers.PlainTextResponse(f"expected one of the hosts {', '.join(HOSTS)}", 403, HEADERS)
        if not secrets.compare_digest(given.encode(), token.encode()):
            return answers.PlainTextResponse(
                "expected the address with its token that tomodiff watch says", 403, HEADERS
            )
        return None

    def guarded(path: str, answer: Any) -> Any:
        async def guard(request: Any) -> Any:
            no = refused(request)
            if no is not None:
                return no
            try:
                return await answer(request)
            except TomodiffError as error:
                return answers.JSONResponse({"error": str(error)}, 404, HEADERS)

        return routing.Route(path, guard)

    async def page(request: Any) -> Any:
        made = answers.FileResponse(STATIC / "page.html", headers=HEADERS)
        made.set_cookie("tomodiff", token, httponly=True, samesite="strict")
        return made

    async def file(request: Any) -> Any:
        name = request.path_params["name"]
        if name not in FILES:
            return answers.PlainTextResponse("no such file", 404, HEADERS)
        return answers.FileResponse(STATIC / name, media_type=FILES[name], headers=HEADERS)

    async def state(request: Any) -> Any:
        seen = await asyncio.to_thread(_seen, run, ground, plots)
        about = {"settings": run.settings(), "command": run.command(), **seen}
        return answers.JSONResponse(about, headers=HEADERS)

    async def slices(request: Any) -> Any:
        axis, index = int(request.path_params["axis"]), int(request.path_params["index"])
        if axis > 2:
            return answers.PlainTextResponse("expected axis 0, 1 or 2", 404, HEADERS)
        found = await asyncio.to_thread(run.slice, axis, index)
        return _array(answers, found)

    async def volume(request: Any) -> Any:
        found = await asyncio.to_thread(run.nifti)
        return answers.Response(found, media_type="application/octet-stream", headers=HEADERS)

    async def heights(request: Any) -> Any:
        found = await asyncio.to_thread(ground.heights, request.path_params["which"])
        return _array(answers, found)

    async def light(request: Any) -> Any:
        told = [_number(request.query_params.get(name)) for name in ("azimuth", "elevation")]
        return _array(answers, await asyncio.to_thread(ground.light, request.path_params["which"], *told))

    async def plot(request: Any) -> Any:
        dark = request.query_params.get("theme") == "dark"
        found = await asyncio.to_thread(plots.drawn, request.path_params["number"], dark)
        return answers.Response(found, media_type="image/png", headers=HEADERS)

    async def picture(request: Any) -> Any:
        all_of_them, number = run.pictures(), int(request.path_params["number"])
        if number >= len(all_of_them):
            return answers.PlainTextResponse("no such picture", 404, HEADERS)
        return answers.FileResponse(all_of_them[number], media_type="image/png", headers=HEADERS)

    async def report(request: Any) -> Any:
        own = {**HEADERS, "Content-Security-Policy": "default-src 'unsafe-inline' data:"}
        return answers.HTMLResponse(await asyncio.to_thread(run.report), headers=own)

    async def events(request: Any) -> Any:
        made = _events(run, ground, plots, request.is_disconnected)
        return answers.StreamingResponse(made, media_type="text/event-stream", headers=HEADERS)

    routes = {
        "/": page, "/static/{name}": file, "/report": report, "/api/state": state, "/api/events": events,
        "/api/slice/{axis:int}/{index:int}": slices, "/api/volume.nii": volume,
        "/api/ground/{which:int}": heights, "/api/light/{which:int}": light,
        "/api/picture/{number:int}": picture, "/api/plot/{number:int}": plot,
    }  # fmt: skip
    return starlette.Starlette(routes=[guarded(path, answer) for path, answer in routes.items()])


def _array(answers: Any, found: Any) -> Any:
    """An array as its bytes, the shape in a header."""
    shape = {"X-Shape": ",".join(map(str, found.shape))}
    return answers.Response(found.tobytes(), media_type="application/octet-stream", headers={**HEADERS, **shape})


def _number(text: str | None) -> float:
    try:
        return float(text or "")
    except ValueError:
        raise ConfigError(f"expected a number of degrees, got {text!r}") from None


def _seen(run: RunFolder, ground: Ground, plots: Plots) -> dict[str, Any]:
    """What of a run changes as it goes on, but metrics and log."""
    try:
        shown = run.shown()
    except DataError as error:
        shown = {"error": str(error)}
    pictures = [p.name for p in run.pictures()]
    return {
        "status": run.status(), "slices": shown, "pictures": pictures, "ground": ground.shown(), "plots": plots.shown(),
    }  # fmt: skip


async def _events(run: RunFolder, ground: Ground, plots: Plots, gone: Any) -> AsyncIterator[str]:
    """Server-sent events: `metrics` and `log` with what came, `state` with what changed, until the browser is gone."""
    at, log, before = 0, 0, ""
    first = True
    while not await gone():
        entries, end = run.metrics(at)
        if end < at:  # the run was begun anew
            yield _event("again", {})
        at = end
        if entries:
            yield _event("metrics", entries)
        said, log = run.grown("log.txt", log)
        if said:
            yield _event("log", said[-TAIL:] if first else said)
        state = await asyncio.to_thread(_seen, run, ground, plots)
        text = json.dumps(state)
        if text != before:
            before = text
            yield _event("state", state)
        first = False
        await asyncio.sleep(EVERY)


def _event(name: str, data: Any) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


def serve(path: Path, port: int = 8790, opened: Any = lambda address: None) -> None:
    """Serve until interrupted.  opened(address): called once the port is taken, before the first answer.

    ConfigError where the port is taken, or what serves is not installed.
    """
    uvicorn = library("uvicorn", "watch", NEEDS)
    token = secrets.token_urlsafe(16)
    app = application(RunFolder(path), token)
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOSTS[0], port))
    except OSError as error:
        listening.close()
        raise ConfigError(f"--port {port}: {error.strerror}; another one, or 0 for any that is free") from error
    opened(f"http://{HOSTS[0]}:{listening.getsockname()[1]}/?token={token}")
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1)
    with listening:
        uvicorn.Server(config).run(sockets=[listening])
