"""AWS: DynamoDB and SSM. No other package sends it requests."""
