"""From columns to bytes and back: the codecs of leaf blocks (`streams/FORMAT.md` has the tables).

`leaf` puts a block together, `times` and `values` choose how its two columns are written, `registry` lists every codec
id, `integers` packs short columns of u64. Everything is exact to the bit; a codec that cannot be makes room for one
that can, block by block.
"""
