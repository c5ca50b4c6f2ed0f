"""The one way from a request to an answer: who asks, may they, which credential, which engine."""
