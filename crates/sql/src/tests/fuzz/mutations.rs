//! Statements put together at random.

use granary_common::Random;
use granary_common::random::SeededRandom;

use super::sources::{EDGES, foreign, own, pieces};

const ARBITRARY_LEN_MAX: usize = 120;
/// Characters that mean something to a tokenizer, more often than others.
const MEANINGFUL: &[char] = &[
    '\'',
    '"',
    '`',
    '(',
    ')',
    '[',
    ']',
    '{',
    '}',
    ',',
    ';',
    '.',
    ':',
    '=',
    '<',
    '>',
    '-',
    '+',
    '*',
    '/',
    '%',
    '\\',
    '$',
    '@',
    '#',
    '!',
    '|',
    '&',
    '^',
    '~',
    '?',
    '0',
    '9',
    'e',
    'x',
    'E',
    'N',
    ' ',
    '\n',
    '\t',
    '\0',
    '\u{a0}',
    '\u{1f33e}',
    'ß',
    'İ',
];

pub(super) struct Mutations {
    random: SeededRandom,
    own: Vec<Vec<String>>,
    foreign: Vec<Vec<String>>,
}

impl Mutations {
    pub(super) fn new(seed: u64) -> Mutations {
        let pieces_of = |texts: Vec<String>| {
            texts.iter().map(|text| pieces(text)).filter(|pieces| !pieces.is_empty()).collect()
        };
        let mutations = Mutations {
            random: SeededRandom::new(seed),
            own: pieces_of(own()),
            foreign: pieces_of(foreign()),
        };
        assert!(mutations.foreign.len() > 1_500, "the files were read");
        mutations
    }

    fn below(&self, bound: usize) -> usize {
        (self.random.next_u64() % bound.max(1) as u64) as usize
    }

    fn source(&self) -> &[String] {
        let all = if self.below(3) == 0 { &self.foreign } else { &self.own };
        &all[self.below(all.len())]
    }

    /// A run of pieces of some statement.
    fn run(&self) -> Vec<String> {
        let source = self.source();
        let first = self.below(source.len());
        let count = 1 + self.below(8);
        source.iter().skip(first).take(count).cloned().collect()
    }

    /// The next text.
    pub(super) fn statement(&self) -> String {
        match self.below(12) {
            0 => self.arbitrary(),
            1 => self.damaged(&self.mutated()),
            _ => self.mutated(),
        }
    }

    /// A statement whose pieces were cut, doubled, swapped, bracketed or replaced.
    fn mutated(&self) -> String {
        let mut pieces = self.source().to_vec();
        for _ in 0..1 + self.below(4) {
            let at = self.below(pieces.len());
            let end = (at + 1 + self.below(5)).min(pieces.len());
            match self.below(8) {
                0 => drop(pieces.drain(at..end)),
                1 => {
                    let doubled = pieces[at..end].to_vec();
                    pieces.splice(at..at, doubled);
                }
                2 => drop(pieces.splice(at..end, self.run())),
                3 => drop(pieces.splice(at..at, self.run())),
                4 => drop(pieces.splice(at..end, [EDGES[self.below(EDGES.len())].to_owned()])),
                5 => {
                    let other = self.below(pieces.len());
                    if !pieces.is_empty() {
                        pieces.swap(at, other);
                    }
                }
                6 => self.nest(&mut pieces, at, end),
                _ => {
                    pieces.insert(end, ")".to_owned());
                    pieces.insert(at, "(".to_owned());
                }
            }
            if pieces.is_empty() {
                pieces = self.run();
            }
        }
        pieces.join(" ")
    }

    /// Puts a run into something that stands many times around it.
    fn nest(&self, pieces: &mut Vec<String>, at: usize, end: usize) {
        const AROUND: &[(&str, &str)] = &[
            ("(", ")"),
            ("[", "]"),
            ("NOT ", ""),
            ("- ", ""),
            ("(SELECT ", ")"),
            ("abs(", ")"),
            ("CASE WHEN true THEN ", " END"),
            ("Array(", ")"),
            ("CAST(", " AS String)"),
            ("x -> ", ""),
            ("1 IN (", ")"),
        ];
        let (open, close) = AROUND[self.below(AROUND.len())];
        let depth = [2, 10, 60, 150, 2_000][self.below(5)];
        pieces.insert(end, close.repeat(depth));
        pieces.insert(at, open.repeat(depth));
    }

    /// Characters in no order.
    fn arbitrary(&self) -> String {
        (0..self.below(ARBITRARY_LEN_MAX)).map(|_| self.character()).collect()
    }

    fn character(&self) -> char {
        match self.below(3) {
            0 => char::from((self.random.next_u64() % 128) as u8),
            1 => char::from_u32((self.random.next_u64() % 0x11_0000) as u32).unwrap_or('\u{fffd}'),
            _ => MEANINGFUL[self.below(MEANINGFUL.len())],
        }
    }

    /// A text with some of its bytes changed, gone or doubled.
    fn damaged(&self, text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        for _ in 0..1 + self.below(6) {
            let at = self.below(bytes.len());
            match self.below(4) {
                _ if bytes.is_empty() => break,
                0 => {
                    bytes.remove(at);
                }
                1 => bytes[at] = (self.random.next_u64() % 256) as u8,
                2 => drop(bytes.splice(at..at, self.character().to_string().into_bytes())),
                _ => bytes.truncate(at),
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
