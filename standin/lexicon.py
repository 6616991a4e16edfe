"""The closed lexicon of the stand-in: every word and colour that a picture may show. Independent of pictures."""

from __future__ import annotations

WORDS: tuple[str, ...] = (
    "north", "south", "east", "west", "spring", "summer", "autumn", "winter", "apple", "bread",
    "cheese", "coffee", "cotton", "copper", "silver", "gold", "iron", "steel", "paper", "glass",
    "stone", "timber", "rubber", "sugar", "salt", "rice", "wheat", "corn", "barley", "honey", "lemon",
    "melon", "grape", "olive", "pepper", "onion", "carrot", "potato", "tomato", "garlic", "milk",
    "butter", "cream", "river", "lake", "ocean", "island", "forest", "desert", "valley", "hill",
    "coast", "beach", "meadow", "garden", "field", "farm", "village", "city", "town", "street",
    "bridge", "tunnel", "harbor", "station", "airport", "market", "school", "church", "castle",
    "museum", "library", "theater", "hotel", "office", "factory", "bakery", "clinic", "bank", "shop",
    "cafe", "kitchen", "window", "door", "table", "chair", "lamp", "clock", "mirror", "carpet",
    "basket", "bottle", "plate", "spoon", "knife", "candle", "pencil", "letter", "book", "map", "flag",
    "drum", "piano", "guitar", "violin", "trumpet", "train", "bus", "truck", "car", "boat", "ship",
    "plane", "bicycle", "engine", "wheel", "rocket", "robot", "camera", "phone", "radio", "screen",
    "cable", "signal", "battery", "motor", "solar", "wind", "water", "fire", "earth", "cloud", "rain",
    "snow", "storm", "thunder", "sun", "moon", "star", "planet", "comet", "tiger", "lion", "bear",
    "wolf", "fox", "rabbit", "horse", "cow", "sheep", "goat", "pig", "chicken", "duck", "goose",
    "eagle", "owl", "robin", "whale", "shark", "salmon", "turtle", "frog", "snake", "spider", "ant",
    "bee", "rent", "sales", "profit", "cost", "budget", "income", "export", "import", "tax", "loan",
    "price", "stock", "bonus", "salary", "profile", "member", "user", "visit", "order", "return",
    "credit", "debit", "asset", "alpha", "beta", "gamma", "delta", "omega", "sigma", "zeta", "kappa",
    "ruby", "pearl",
)  # fmt: skip

# Eight fills that stay apart from each other after bf16, resizing and a little jitter.
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 39, 40),
    "orange": (255, 140, 0),
    "yellow": (242, 214, 40),
    "green": (40, 150, 50),
    "blue": (30, 90, 200),
    "purple": (130, 60, 180),
    "pink": (245, 140, 195),
    "brown": (115, 70, 40),
}
SHAPES: tuple[str, ...] = ("circle", "square", "triangle")
COLOUR_NAMES: tuple[str, ...] = tuple(COLOURS)

# What a text slot of a picture can hold; 0 is reserved for "nothing".
GLYPHS = "0123456789abcdefghijklmnopqrstuvwxyz%.:-/"
GLYPH_ID: dict[str, int] = {glyph: place + 1 for place, glyph in enumerate(GLYPHS)}
# Words and shapes that a bond can name, 0 for none.
BOND_ID: dict[str, int] = {word: place + 1 for place, word in enumerate((*WORDS, *SHAPES))}
WORD_ID: dict[str, int] = {word: place + 1 for place, word in enumerate(WORDS)}
COLOUR_ID: dict[str, int] = {name: place + 1 for place, name in enumerate(COLOUR_NAMES)}
