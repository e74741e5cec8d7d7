def test_first(server):
    print(server.complete(max_tokens=8))
    print(server.complete(max_tokens=8, logprobs=2, return_token_ids=True, seed=1))
    print(server.post("/v1/completions", {"prompt": "The", "max_tokens": 5, "stream": True, "stream_options": {"include_usage": True}}).text)
    for path in ("/health", "/metrics", "/v1/models", "/docs", "/openapi.json", "/v1/models/tiny", "/v1/models/x"):
        a = server.client.get(path); print(path, a.status_code, a.text[:300])
    print(server.post("/tokenize", {"text":"héllo"}).text)
