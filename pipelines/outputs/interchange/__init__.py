"""Files for other programs, which `vtrack convert` makes of tables: one module a format, listed in
`vtrack.pipelines.registry.INTERCHANGE`. What only one format needs is imported when that format is written.
"""
