"""Who may do what: tokens and what they are allowed. One list of tokens serves every face.

tokens = Tokens(db)
key = tokens.create("reader", Permissions(read=("$streams/plant/*",)))     # shown once
principal = tokens.authenticate("Bearer " + key)                          # or PermissionDenied
principal.may_read_stream("plant/pump-3")
"""

from lamina.access.permissions import Permissions
from lamina.access.principals import ANONYMOUS_FULL, Principal
from lamina.access.tokens import TokenInfo, Tokens, bootstrap

__all__ = ["ANONYMOUS_FULL", "Permissions", "Principal", "TokenInfo", "Tokens", "bootstrap"]
