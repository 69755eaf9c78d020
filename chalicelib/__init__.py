"""The broker: what is deployed to Lambda."""

VERSION = "0.1.0"
