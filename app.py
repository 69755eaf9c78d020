"""The Lambda function: the Chalice object and its routes. No logic."""

from chalice import Chalice

from chalicelib import api, wiring

app = Chalice(app_name="sync-upload-broker")
for routes in api.ALL:
    app.register_blueprint(routes.blueprint())

wiring.greet()
