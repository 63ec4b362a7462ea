"""The HTTP API of jobs: plain FastAPI, hosted by Ray Serve."""
