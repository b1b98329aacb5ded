"""A server that wants tokens: signed with a secret that the tests know, or with fetched keys."""

import os

from penstock_server import JWT, Server, Timing

auth = JWT(
    None if "TEST_JWKS" in os.environ else "0123456789abcdef0123456789abcdef",
    jwks=os.environ.get("TEST_JWKS"),
    query_token=True,
)
server = Server(
    auth=auth, cors=["https://friend.example"], timing=Timing(keepalive=5, heartbeat=5, grace=2)
)
server.topic("room.1", accepts=object)
server.topic("secret", accepts=object)


@server.app.post("/leave/<subject>")
async def leave(subject: str) -> str:
    await server.revoke(subject=subject)
    return "gone"
