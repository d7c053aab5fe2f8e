"""How fast whole programs are: vtrack, the encoder alone and what else people would use, each in processes of its own."""
