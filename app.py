"""The Lambda function: the Chalice object and its routes. No logic."""

import gc

# Imported objects stay: looking for garbage among them takes a tenth of a cold start.
gc.disable()

from typing import Any

from chalice import Rate
from chalice.app import CloudWatchEvent

from chalicelib import api, bootstrap
from chalicelib.web.gateway import App

app = App("sync-upload-broker", bootstrap.HOST)
for routes in api.ALL:
    app.register_blueprint(routes.blueprint(bootstrap.HOST))


@app.schedule(Rate(1, unit=Rate.MINUTES))
def sweep(event: CloudWatchEvent) -> None:
    """Finish what no request finished, every minute."""
    context: Any = event.context
    bootstrap.sweep(context.get_remaining_time_in_millis())


bootstrap.warn_if_unconfigured()
bootstrap.warm()
gc.freeze()
gc.enable()
