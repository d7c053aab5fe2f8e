"""Expressions: blend shapes and proxies of action units relative to the person's neutral face.

`movements` says how points in the image become movements of eyes, brows and mouth, `neutral` learns the face at rest, and
`finder` puts both together for the faces of successive frames.
"""
