"""Streams of results to other programs: JSON lines, and the protocols of instruments, avatars and laboratories.

`vtrack.pipelines.registry.EMITTERS` lists them, `emitter` opens them; a module each makes the datagrams of a protocol.
"""
