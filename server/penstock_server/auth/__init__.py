"""Who a client is, and what it may do. No web stack, and no topics.

The modules, low to high::

    refusals, rights, credentials  why a token is refused; claims to grants; where a token is found
    revocation, policy             what was revoked; what every kind of auth can be told
    interface                      what the server asks of any kind of auth
    keys                           keys, and the algorithms that each is good for (needs PyJWT)
    jwks                           key sets, from a document or an address
    signed                         tokens to claims (needs PyJWT)
    jwt, api_keys                  the two kinds of auth that there are

Importing this package imports no cryptography; making a `JWT` does.
"""

from .api_keys import ApiKeys
from .credentials import COOKIE, QUERY, Credentials, MalformedCredentials, find_credentials
from .interface import Auth
from .jwt import JWT
from .policy import AccessPolicy, Check
from .refusals import CannotVerify, Unauthorized
from .revocation import Revocations
from .rights import BadRights

__all__ = [
    "COOKIE",
    "JWT",
    "QUERY",
    "AccessPolicy",
    "ApiKeys",
    "Auth",
    "BadRights",
    "CannotVerify",
    "Check",
    "Credentials",
    "MalformedCredentials",
    "Revocations",
    "Unauthorized",
    "find_credentials",
]
