"""The server under OpenAI's own client, under schemathesis, and under load."""
