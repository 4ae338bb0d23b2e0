"""Game frames: where they come from, how they are split by episode and how clips are drawn from them."""
