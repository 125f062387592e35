"""Networks that follow a flow from noise to pictures."""
