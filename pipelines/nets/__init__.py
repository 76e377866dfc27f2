"""Networks of our own: nn.Modules only."""
