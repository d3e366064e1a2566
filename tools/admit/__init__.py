"""The admission check: a product beside China Mobile's document, point by point."""
