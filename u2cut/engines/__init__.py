"""Engines run the network: a weights file in, saliency maps out."""
