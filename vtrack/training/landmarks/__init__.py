"""Training of landmark models on any mix of annotated photographs."""
