"""The only package that talks to AWS: DynamoDB and SSM."""
