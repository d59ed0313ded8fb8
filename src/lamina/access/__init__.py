"""Who may do what: tokens and what they are allowed. One list of tokens serves every face.

tokens = Tokens(db)
key = tokens.create("reader", Permissions(read=("$streams/plant/*", "camera-*")))     # shown once
principal = tokens.authenticate("Bearer " + key)                                      # or PermissionDenied
principal.may_read_stream("plant/pump-3")
principal.may_read_bucket("camera-3")
"""

from lamina.access.bodies import Create, issued_json, parse_create, token_json
from lamina.access.bootstrap import Provision, bootstrap
from lamina.access.permissions import Permissions
from lamina.access.principals import ANONYMOUS_FULL, Principal
from lamina.access.tokens import DISABLED, Issued, TokenInfo, Tokens, required_tokens

__all__ = [
    "ANONYMOUS_FULL",
    "DISABLED",
    "Create",
    "Issued",
    "Permissions",
    "Principal",
    "Provision",
    "TokenInfo",
    "Tokens",
    "bootstrap",
    "issued_json",
    "parse_create",
    "required_tokens",
    "token_json",
]
