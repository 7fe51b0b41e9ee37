"""What Gridflow does, one package per stage in pipeline order; imports point backward."""
