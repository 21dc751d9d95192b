"""The multimodal module and its parts: text encoder, vision tower, fusion, heads."""
