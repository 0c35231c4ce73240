//! The vocabulary: nouns, verbs and adjectives, and which of them are kinds of others.

/// A noun that can be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Noun {
    /// One of them.
    pub(crate) one: &'static str,
    /// Several.
    pub(crate) many: &'static str,
}

/// A noun with the nouns that are kinds of it.
#[derive(Debug)]
pub(crate) struct Kind {
    /// The general noun.
    pub(crate) name: Noun,
    /// The special ones.
    pub(crate) members: &'static [Noun],
}

/// A verb in the three forms that sentences here need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verb {
    /// As after `did not`.
    pub(crate) base: &'static str,
    /// As after a subject.
    pub(crate) past: &'static str,
    /// As after `was`.
    pub(crate) participle: &'static str,
}

/// A verb with the verbs that are ways of doing it.
#[derive(Debug)]
pub(crate) struct VerbKind {
    /// The general verb.
    pub(crate) name: Verb,
    /// The special ones.
    pub(crate) members: &'static [Verb],
}

/// Two adjectives that exclude each other, with their comparatives.
#[derive(Debug)]
pub(crate) struct Opposites {
    /// As `old`, `young`.
    pub(crate) plain: [&'static str; 2],
    /// As `older`, `younger`.
    pub(crate) comparative: [&'static str; 2],
}

/// Two verbs for the two sides of one event: who gives, and who gets.
#[derive(Debug)]
pub(crate) struct Transfer {
    /// As `gave` and its preposition `to`.
    pub(crate) giving: (&'static str, &'static str),
    /// As `received` and its preposition `from`.
    pub(crate) receiving: (&'static str, &'static str),
}

const fn noun(one: &'static str, many: &'static str) -> Noun {
    Noun { one, many }
}

const fn verb(base: &'static str, past: &'static str, participle: &'static str) -> Verb {
    Verb { base, past, participle }
}

/// The general noun for animals.
pub(crate) const ANIMAL: Noun = noun("animal", "animals");
/// The general noun for persons.
pub(crate) const PERSON: Noun = noun("person", "people");
/// The general noun for things.
pub(crate) const THING: Noun = noun("thing", "things");

/// Kinds of [`ANIMAL`].
pub(crate) const ANIMALS: &[Kind] = &[
    Kind {
        name: noun("dog", "dogs"),
        members: &[
            noun("poodle", "poodles"),
            noun("terrier", "terriers"),
            noun("beagle", "beagles"),
            noun("spaniel", "spaniels"),
        ],
    },
    Kind {
        name: noun("bird", "birds"),
        members: &[
            noun("sparrow", "sparrows"),
            noun("robin", "robins"),
            noun("crow", "crows"),
            noun("owl", "owls"),
        ],
    },
    Kind {
        name: noun("reptile", "reptiles"),
        members: &[
            noun("snake", "snakes"),
            noun("lizard", "lizards"),
            noun("turtle", "turtles"),
            noun("gecko", "geckos"),
        ],
    },
    Kind {
        name: noun("insect", "insects"),
        members: &[
            noun("bee", "bees"),
            noun("ant", "ants"),
            noun("beetle", "beetles"),
            noun("wasp", "wasps"),
        ],
    },
];

/// Kinds of [`PERSON`].
pub(crate) const PEOPLE: &[Kind] = &[
    Kind {
        name: noun("musician", "musicians"),
        members: &[
            noun("singer", "singers"),
            noun("drummer", "drummers"),
            noun("pianist", "pianists"),
            noun("violinist", "violinists"),
        ],
    },
    Kind {
        name: noun("artist", "artists"),
        members: &[
            noun("painter", "painters"),
            noun("sculptor", "sculptors"),
            noun("potter", "potters"),
            noun("weaver", "weavers"),
        ],
    },
    Kind {
        name: noun("doctor", "doctors"),
        members: &[
            noun("surgeon", "surgeons"),
            noun("dentist", "dentists"),
            noun("oculist", "oculists"),
            noun("vet", "vets"),
        ],
    },
    Kind {
        name: noun("athlete", "athletes"),
        members: &[
            noun("runner", "runners"),
            noun("swimmer", "swimmers"),
            noun("boxer", "boxers"),
            noun("rower", "rowers"),
        ],
    },
];

/// Kinds of [`THING`].
pub(crate) const THINGS: &[Kind] = &[
    Kind {
        name: noun("vehicle", "vehicles"),
        members: &[
            noun("car", "cars"),
            noun("bus", "buses"),
            noun("truck", "trucks"),
            noun("van", "vans"),
        ],
    },
    Kind {
        name: noun("fruit", "fruits"),
        members: &[
            noun("apple", "apples"),
            noun("pear", "pears"),
            noun("plum", "plums"),
            noun("cherry", "cherries"),
        ],
    },
    Kind {
        name: noun("tool", "tools"),
        members: &[
            noun("hammer", "hammers"),
            noun("saw", "saws"),
            noun("drill", "drills"),
            noun("spade", "spades"),
        ],
    },
    Kind {
        name: noun("toy", "toys"),
        members: &[
            noun("doll", "dolls"),
            noun("ball", "balls"),
            noun("kite", "kites"),
            noun("puzzle", "puzzles"),
        ],
    },
    Kind {
        name: noun("flower", "flowers"),
        members: &[
            noun("rose", "roses"),
            noun("tulip", "tulips"),
            noun("daisy", "daisies"),
            noun("lily", "lilies"),
        ],
    },
    Kind {
        name: noun("garment", "garments"),
        members: &[
            noun("coat", "coats"),
            noun("shirt", "shirts"),
            noun("scarf", "scarves"),
            noun("jacket", "jackets"),
        ],
    },
];

/// Intransitive verbs, by the general verb that they are ways of doing.
pub(crate) const ACTIONS: &[VerbKind] = &[
    VerbKind {
        name: verb("move", "moved", "moved"),
        members: &[
            verb("run", "ran", "run"),
            verb("walk", "walked", "walked"),
            verb("crawl", "crawled", "crawled"),
            verb("swim", "swam", "swum"),
            verb("jump", "jumped", "jumped"),
        ],
    },
    VerbKind {
        name: verb("rest", "rested", "rested"),
        members: &[
            verb("sleep", "slept", "slept"),
            verb("doze", "dozed", "dozed"),
            verb("nap", "napped", "napped"),
        ],
    },
    VerbKind {
        name: verb("eat", "ate", "eaten"),
        members: &[
            verb("dine", "dined", "dined"),
            verb("nibble", "nibbled", "nibbled"),
            verb("feast", "feasted", "feasted"),
        ],
    },
];

/// Intransitive verbs without a general verb.
pub(crate) const OTHER_ACTIONS: &[Verb] = &[
    verb("wait", "waited", "waited"),
    verb("tremble", "trembled", "trembled"),
    verb("hide", "hid", "hidden"),
    verb("fall", "fell", "fallen"),
    verb("play", "played", "played"),
    verb("listen", "listened", "listened"),
    verb("drink", "drank", "drunk"),
    verb("yawn", "yawned", "yawned"),
];

/// Verbs with a person or an animal as object, by the general verb that they are ways of doing.
pub(crate) const DEEDS: &[VerbKind] = &[
    VerbKind {
        name: verb("touch", "touched", "touched"),
        members: &[
            verb("push", "pushed", "pushed"),
            verb("pull", "pulled", "pulled"),
            verb("hug", "hugged", "hugged"),
            verb("kick", "kicked", "kicked"),
        ],
    },
    VerbKind {
        name: verb("notice", "noticed", "noticed"),
        members: &[
            verb("see", "saw", "seen"),
            verb("hear", "heard", "heard"),
            verb("smell", "smelled", "smelled"),
        ],
    },
    VerbKind {
        name: verb("please", "pleased", "pleased"),
        members: &[
            verb("delight", "delighted", "delighted"),
            verb("amuse", "amused", "amused"),
            verb("thrill", "thrilled", "thrilled"),
        ],
    },
];

/// Verbs with a person or an animal as object, without a general verb.
pub(crate) const OTHER_DEEDS: &[Verb] = &[
    verb("chase", "chased", "chased"),
    verb("follow", "followed", "followed"),
    verb("help", "helped", "helped"),
    verb("watch", "watched", "watched"),
    verb("call", "called", "called"),
    verb("find", "found", "found"),
    verb("scare", "scared", "scared"),
    verb("greet", "greeted", "greeted"),
];

/// Verbs with a thing as object, by the general verb that they are ways of doing.
pub(crate) const USES: &[VerbKind] = &[
    VerbKind {
        name: verb("damage", "damaged", "damaged"),
        members: &[
            verb("break", "broke", "broken"),
            verb("scratch", "scratched", "scratched"),
            verb("burn", "burned", "burned"),
        ],
    },
    VerbKind {
        name: verb("get", "got", "got"),
        members: &[
            verb("buy", "bought", "bought"),
            verb("borrow", "borrowed", "borrowed"),
            verb("win", "won", "won"),
        ],
    },
    VerbKind {
        name: verb("hold", "held", "held"),
        members: &[
            verb("carry", "carried", "carried"),
            verb("lift", "lifted", "lifted"),
            verb("grip", "gripped", "gripped"),
        ],
    },
];

/// Verbs with a thing as object, without a general verb.
pub(crate) const OTHER_USES: &[Verb] = &[
    verb("wash", "washed", "washed"),
    verb("paint", "painted", "painted"),
    verb("lose", "lost", "lost"),
    verb("repair", "repaired", "repaired"),
    verb("draw", "drew", "drawn"),
    verb("want", "wanted", "wanted"),
];

/// Qualities of persons and animals.
pub(crate) const QUALITIES: &[Opposites] = &[
    Opposites { plain: ["old", "young"], comparative: ["older", "younger"] },
    Opposites { plain: ["big", "small"], comparative: ["bigger", "smaller"] },
    Opposites { plain: ["tall", "short"], comparative: ["taller", "shorter"] },
    Opposites { plain: ["strong", "weak"], comparative: ["stronger", "weaker"] },
    Opposites { plain: ["fast", "slow"], comparative: ["faster", "slower"] },
    Opposites { plain: ["happy", "sad"], comparative: ["happier", "sadder"] },
    Opposites { plain: ["clean", "dirty"], comparative: ["cleaner", "dirtier"] },
    Opposites { plain: ["loud", "quiet"], comparative: ["louder", "quieter"] },
];

/// Colours of things.
pub(crate) const COLOURS: &[&str] =
    &["red", "blue", "green", "yellow", "black", "white", "brown", "grey"];

/// Events with two sides.
pub(crate) const TRANSFERS: &[Transfer] = &[
    Transfer { giving: ("gave", "to"), receiving: ("received", "from") },
    Transfer { giving: ("sold", "to"), receiving: ("bought", "from") },
    Transfer { giving: ("lent", "to"), receiving: ("borrowed", "from") },
    Transfer { giving: ("handed", "to"), receiving: ("took", "from") },
];

/// Who may do something, by name: the women, then the men.
pub(crate) const NAMES: [&[&str]; 2] = [
    &[
        "Anna", "Clara", "Diana", "Emma", "Greta", "Helen", "Irene", "Julia", "Laura", "Maria",
        "Nora", "Olga",
    ],
    &[
        "Adam", "Boris", "Carl", "David", "Eric", "Frank", "Henry", "Ivan", "Jacob", "Leo", "Mark",
        "Oscar",
    ],
];

/// Phrases for places.
pub(crate) const PLACES: &[&str] = &[
    "in the garden",
    "in the kitchen",
    "in the park",
    "at the station",
    "at the market",
    "in the forest",
    "on the beach",
    "in the street",
    "near the river",
    "on the bridge",
    "behind the house",
    "in the tent",
];

/// Phrases for times.
pub(crate) const TIMES: &[&str] = &[
    "in the morning",
    "at noon",
    "in the evening",
    "at night",
    "on Monday",
    "on Friday",
    "on Sunday",
    "last week",
    "yesterday",
    "in spring",
    "in winter",
];

/// Number words, starting at two.
pub(crate) const NUMBERS: &[&str] =
    &["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];

/// Habits: who does what.
pub(crate) const HABITS: &[(&str, &str)] = &[
    ("lion", "roars"),
    ("wolf", "howls"),
    ("hound", "barks"),
    ("cat", "purrs"),
    ("cow", "moos"),
    ("horse", "neighs"),
    ("sheep", "bleats"),
    ("duck", "quacks"),
    ("rooster", "crows"),
    ("bee", "buzzes"),
    ("snake", "hisses"),
    ("pig", "grunts"),
    ("frog", "croaks"),
    ("mouse", "squeaks"),
    ("baker", "bakes"),
    ("singer", "sings"),
    ("dancer", "dances"),
    ("teacher", "teaches"),
    ("driver", "drives"),
    ("writer", "writes"),
    ("painter", "paints"),
    ("farmer", "plants"),
    ("cook", "stews"),
    ("sailor", "sails"),
    ("runner", "runs"),
    ("swimmer", "swims"),
    ("hunter", "hunts"),
    ("judge", "judges"),
];
