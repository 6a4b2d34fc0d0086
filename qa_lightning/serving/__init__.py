"""A Reader over HTTP: FastAPI for the routes, uvicorn for the connections, and a queue of ours for the model.

LitServe (0.2.19), Lightning's server, was tried first. It stops gracefully for Ctrl-C only: after a SIGTERM its
processes live on without their parent, keep the port and still answer. One request that cannot be answered fails all
that were batched with it, malformed JSON ends in status 500, and its page of documentation loads from other sites.
It also collects a batch for a fixed time and runs four processes for one model, which all is simpler here: one
process, in which a thread answers together whatever has come in while it was busy.
"""
