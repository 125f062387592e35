"""What papers of one family share: settings, networks, players, training steps. Each method's file holds what its own paper adds."""
