"""The socket of the web process: uvicorn, set up so that no address with a query is logged and nobody is cut off."""

import uvicorn

from worker.services import Services, keep_for_good
from worker.web.app import create_app
from worker.web.webhooks import Deliveries

SHUTDOWN_SECONDS = 20
"""How long requests under way may take after the process was told to end."""


def server(services: Services, *, port: int, host: str = "127.0.0.1") -> uvicorn.Server:
    """A server that has not started; uvloop and httptools are used where they are installed."""
    app = create_app(services)
    return uvicorn.Server(
        uvicorn.Config(
            Deliveries(app, services, app.state.door),
            host=host,
            port=port,
            access_log=False,  # its lines would hold addresses with what people looked for
            log_config=None,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            # Longer than the usual 60 s of a proxy in front, so that it is the proxy that closes an idle connection.
            timeout_keep_alive=75,
            ws="none",
        )
    )


def serve(services: Services, port: int, host: str = "127.0.0.1") -> None:
    """Answer until SIGTERM or SIGINT, then finish what is under way and let go of every socket."""
    try:
        ready = server(services, port=port, host=host)
        keep_for_good()
        ready.run()
    finally:
        services.close()
