"""The Lambda function: the Chalice object and its routes. No logic."""

import gc

# What is imported stays: to look for garbage among it takes a tenth of a cold start.
gc.disable()

from typing import Any

from chalice import Rate
from chalice.app import CloudWatchEvent

from chalicelib import api, gateway, wiring

app = gateway.App(app_name="sync-upload-broker")
for routes in api.ALL:
    app.register_blueprint(routes.blueprint())


@app.schedule(Rate(1, unit=Rate.MINUTES))
def sweep(event: CloudWatchEvent) -> None:
    """Finish what was left behind, every minute."""
    context: Any = event.context
    wiring.sweep(context.get_remaining_time_in_millis())


wiring.greet()
gc.enable()
