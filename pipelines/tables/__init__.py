"""Work on tables that were written before, without a model: converting them to other formats, drawing them on their videos."""
