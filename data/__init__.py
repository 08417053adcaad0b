"""Where images come from: procedural families, folders of pictures, torchvision data sets."""
