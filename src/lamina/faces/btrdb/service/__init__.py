"""What the calls of BTrDB mean, in columns and plain values: arguments checked in the order that clients expect, who
may do it, and the engine.

Nothing here knows gRPC, protobuf or the form of an answer. The modules beside this package decode requests into these
functions and encode what they give; the classes of `lamina.btrdb` call them on a database in the process.
"""
