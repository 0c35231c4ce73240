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

/// A line for each kind: the general noun, and after the colon those that are kinds of it, each in singular and plural.
macro_rules! kinds {
    ($($one:ident $many:ident: $($member:ident $members:ident),+;)+) => {
        &[$(Kind {
            name: noun(stringify!($one), stringify!($many)),
            members: &[$(noun(stringify!($member), stringify!($members))),+],
        }),+]
    };
}

/// A line for each general verb, and after the colon the ways of doing it, each as in [`Verb`].
macro_rules! verb_kinds {
    ($($base:ident $past:ident $participle:ident: $($way:ident $ways_past:ident $ways_participle:ident),+;)+) => {
        &[$(VerbKind {
            name: verb(stringify!($base), stringify!($past), stringify!($participle)),
            members: &[$(
                verb(stringify!($way), stringify!($ways_past), stringify!($ways_participle))
            ),+],
        }),+]
    };
}

/// The general noun for animals.
pub(crate) const ANIMAL: Noun = noun("animal", "animals");
/// The general noun for persons.
pub(crate) const PERSON: Noun = noun("person", "people");
/// The general noun for things.
pub(crate) const THING: Noun = noun("thing", "things");

/// Kinds of [`ANIMAL`].
pub(crate) const ANIMALS: &[Kind] = kinds! {
    dog dogs: poodle poodles, terrier terriers, beagle beagles, spaniel spaniels;
    bird birds: sparrow sparrows, robin robins, crow crows, owl owls;
    reptile reptiles: snake snakes, lizard lizards, turtle turtles, gecko geckos;
    insect insects: bee bees, ant ants, beetle beetles, wasp wasps;
};

/// Kinds of [`PERSON`].
pub(crate) const PEOPLE: &[Kind] = kinds! {
    musician musicians: singer singers, drummer drummers, pianist pianists, violinist violinists;
    artist artists: painter painters, sculptor sculptors, potter potters, weaver weavers;
    doctor doctors: surgeon surgeons, dentist dentists, oculist oculists, vet vets;
    athlete athletes: runner runners, swimmer swimmers, boxer boxers, rower rowers;
};

/// Kinds of [`THING`].
pub(crate) const THINGS: &[Kind] = kinds! {
    vehicle vehicles: car cars, bus buses, truck trucks, van vans;
    fruit fruits: apple apples, pear pears, plum plums, cherry cherries;
    tool tools: hammer hammers, saw saws, drill drills, spade spades;
    toy toys: doll dolls, ball balls, kite kites, puzzle puzzles;
    flower flowers: rose roses, tulip tulips, daisy daisies, lily lilies;
    garment garments: coat coats, shirt shirts, scarf scarves, jacket jackets;
};

/// Intransitive verbs, by the general verb that they are ways of doing.
pub(crate) const ACTIONS: &[VerbKind] = verb_kinds! {
    move moved moved: run ran run, walk walked walked, crawl crawled crawled, swim swam swum, jump jumped jumped;
    rest rested rested: sleep slept slept, doze dozed dozed, nap napped napped;
    eat ate eaten: dine dined dined, nibble nibbled nibbled, feast feasted feasted;
};

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
pub(crate) const DEEDS: &[VerbKind] = verb_kinds! {
    touch touched touched: push pushed pushed, pull pulled pulled, hug hugged hugged, kick kicked kicked;
    notice noticed noticed: see saw seen, hear heard heard, smell smelled smelled;
    please pleased pleased: delight delighted delighted, amuse amused amused, thrill thrilled thrilled;
};

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
pub(crate) const USES: &[VerbKind] = verb_kinds! {
    damage damaged damaged: break broke broken, scratch scratched scratched, burn burned burned;
    get got got: buy bought bought, borrow borrowed borrowed, win won won;
    hold held held: carry carried carried, lift lifted lifted, grip gripped gripped;
};

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
