"""A study: methods, or one method under several settings, trained under one budget, scored under one protocol, compared on one page."""
